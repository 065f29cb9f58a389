"""Convert weights to a .safetensors file with torchvision's or timm's names, without a change to any number.

    wsol_jax convert IN OUT.safetensors --arch=resnet50

IN is a weight file (.safetensors, .npz, .pth, .pt), pip:DISTRIBUTION, or the folder of a trained network, such as
WORKDIR/localizer or WORKDIR/classifier, whose last checkpoint is exported. The head may have any number of classes or
give a box.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from wsol_jax.backbones import names
from wsol_jax.backbones.initialise import shapes
from wsol_jax.backbones.network import BACKBONES, Network, build
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.stages import identity
from wsol_jax.stages.workdir import best_of, checkpoints_of, stage_of
from wsol_jax.tools.command_line import Parser, exit_code
from wsol_jax.weights.matching import State, check, in_our_naming, in_our_shapes, layer_of, layers_of, to_float32
from wsol_jax.weights.weight_files import read_arrays, write_weights

Layout = dict[str, tuple[names.Path, np.ndarray]]

_COUNTER = ".num_batches_tracked"  # of torch's batch norm; ours does not use it


class Conversion(NamedTuple):
    """The outcome of a conversion.

    Attributes:
        origin: of the weights, a phrase for people.
        naming: the foreign naming of the file; '' for our names, torchvision's or timm's.
        types: {type of numbers: number of entries}.
        head: number of classes of the last layer, 'box' for a box head, or None without a last layer.
        joint: whether there is a box branch in addition to the head.
        absent: the parts of the network that the file lacks.
        left_out: the entries that the network does not use.
    """

    origin: str
    naming: str
    types: Mapping[str, int]
    head: int | str | None
    joint: bool
    absent: Collection[str]
    left_out: Collection[str]


def main(arguments: Sequence[str]) -> int:
    """Convert the weights of a command line; return the exit code."""

    def command() -> None:
        parser = Parser(prog="wsol_jax convert", description=__doc__)
        parser.add_argument("source", metavar="IN", help="a weight file, pip:DISTRIBUTION, or WORKDIR/STAGE")
        parser.add_argument("out", metavar="OUT.safetensors", type=to_path, help="a file that does not exist yet")
        parser.add_argument("--arch", required=True, choices=BACKBONES, help="the architecture of the network")
        known = parser.parse_args(arguments)
        print(describe(convert(known.source, known.out, known.arch), known.arch))
        print(f"written   {known.out}, and read back bit for bit")

    return exit_code(command)


def convert(source: str, out: Path, arch: str) -> Conversion:
    """Write the weights of `source` to `out`, in their types, and read them back.

    A file may lack whole parts of the network, for example the head. Counters of batches are kept.

    Args:
        source: see `weight_files.read_arrays`; or the folder of a stage that trained a network.
        out: a .safetensors file that does not exist yet.
        arch: a name in `BACKBONES`.

    Returns:
        The outcome, for `describe`.

    Raises:
        InputError: `source` cannot be read, its names and shapes are not those of the architecture, a number of it is
            NaN or infinite, or `out` exists already or has another ending.
        OSError: `out` cannot be written.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: expected a name that ends in .safetensors")
    if out.exists():
        raise InputError(f"{out} exists already; delete it, or choose another name")
    arrays, origin, options = _read(source, arch)
    state, naming, left_out = in_our_naming(source, arrays, BACKBONES[arch], _layout(build(arch, 1, **options)))
    origin += f", without the prefix {naming.prefix!r}" if naming.prefix else ""
    head, joint = _head(state, BACKBONES[arch].classifier), "box.0.weight" in state
    wanted, absent = _expected(_layout(build(arch, head or 1, joint=joint, **options)), state)
    state = in_our_shapes(state, wanted)
    check(f"{source} for {arch}", state, wanted)
    to_float32(f"{source} for {arch}", state)  # raises for what is no number; the file keeps its types
    write_weights(state, out)
    types = Counter(str(array.dtype) for array in state.values())
    return Conversion(origin, naming.foreign, types, head, joint, absent, left_out)


def describe(conversion: Conversion, arch: str) -> str:
    """Return lines for people: the entries that matched, and those that were left out."""
    naming = f"renamed from {conversion.naming}" if conversion.naming else "not renamed"
    types = ", ".join(f"{count} {kind}" for kind, count in sorted(conversion.types.items()))
    lines = [
        f"read      {conversion.origin}",
        f"matched   {sum(conversion.types.values())} entries of {arch}, {naming}: {types}",
    ]
    if conversion.head:
        head = "a box" if conversion.head == "box" else f"{conversion.head} classes"
        lines.append(f"head      {head}{' and a box' if conversion.joint else ''}")
    if conversion.absent:
        lines.append(f"without   {', '.join(conversion.absent)}")
    if conversion.left_out:
        lines.append(f"left out  {len(conversion.left_out)} ({layers_of(conversion.left_out)})")
    return "\n".join(lines)


def _read(source: str, arch: str) -> tuple[State, str, dict[str, Any]]:
    """A state dict, its origin, and the arguments of its backbone, {} for a file: as published."""
    folder = to_path(source)
    if not folder.is_dir():
        return *read_arrays(source), {}
    from wsol_jax.training.checkpoints import load_variables  # Orbax takes a while, and most conversions do without

    saved = identity.read(folder.parent, stage_of(folder))
    config = saved.config if saved else {}
    if config.get("arch", arch) != arch:
        raise InputError(f"{source} was trained with arch={config['arch']}; expected {arch}")
    which, place = ("last", checkpoints_of) if config.get("select", "last") == "last" else ("best", best_of)
    state = names.to_state_dict(load_variables(place(folder)))
    return state, f"the {which} checkpoint of {source}", config.get("arch_kwargs", {})


def _head(state: State, classifier: str) -> int | str | None:
    """The number of classes of the last layer; 'box' for a box head; None without a last layer."""
    if f"{classifier}.2.weight" in state:
        return "box"
    if f"{classifier}.weight" not in state:
        return None
    return max([1, *state[f"{classifier}.weight"].shape[:1]])


def _layout(network: Network) -> Layout:
    """State-dict name -> path of the leaf, and zeros of its shape in torch's layout that take no memory."""
    flat = flatten_dict(jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes(network)))
    return {names.name_of(path): (path, names.to_torch(path[-1], array)) for path, array in flat.items()}


def _expected(layout: Layout, state: State) -> tuple[dict[str, np.ndarray], list[str]]:
    """The entries that a state dict needs for the parts that it has, {name: zeros}; and the parts that it lacks."""
    part = {name: names.parts_of(path)[0] for name, (path, _) in layout.items()}
    parts = {"backbone"} | {part[name] for name in state if name in part}
    wanted = {name: zeros for name, (_, zeros) in layout.items() if part[name] in parts}
    counters = {name for name in state if name.endswith(_COUNTER) and f"{layer_of(name)}.running_mean" in wanted}
    wanted |= dict.fromkeys(counters, np.zeros((), np.int64))
    return wanted, sorted({*part.values()} - parts)
