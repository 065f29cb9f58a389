"""What a training step needs on TPU v5e chips, and how long it takes at least, as compiled: no chip is needed.

    pip install "jax[tpu]"
    python benchmarks/tpu.py --arch=resnet50,densenet161
    python benchmarks/tpu.py --step=localizer,classifier,dawsol --chips=8,256 --dtype=bfloat16

Compiles PSOL's localizer or classifier, or DA-WSOL of configs/dawsol_ilsvrc.py with maps of 28 x 28 cells, for 1000
classes and --photos on each chip, and prints one table for each: the memory of a chip, the bytes that the chips
exchange, the operations, and an estimate of the time of a step. Takes minutes for each network.

The estimate is a roofline: the operations at the chip's peak or the bytes of its memory, whichever takes longer, as if
the other were hidden behind it, and then the collectives, as if none were. A loop's body counts once for the compiler,
so the clustering of DA-WSOL is counted again for each photo and each of --turns turns.
"""

import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import app, flags
from jax.experimental import topologies
from jax.sharding import Mesh, Sharding
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parent.parent))

from configs import base, dawsol_ilsvrc
from wsol_jax import devices
from wsol_jax.backbones.initialise import shapes
from wsol_jax.data.render import Batch
from wsol_jax.methods.dawsol.kmeans import cluster
from wsol_jax.methods.networks import input_size
from wsol_jax.stages.networks import make_method
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.step import initial_state, make_step

CLASSES = 1000
A_CHIP = 32  # photos
MIB = 2**20
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
TOPOLOGIES = {8: (2, 4), 256: (16, 16)}  # number of chips -> sides of their grid

# Published for v5e (cloud.google.com/tpu/docs/v5e): 197 TFLOP/s of bfloat16, 819 GB/s of memory, four links of 400
# Gbit/s in either direction; a pod of 256 chips is a torus, smaller slices are grids whose corners have two links.
PEAK, MEMORY, LINK = 197e12, 819e9, 50e9
HOP = 1e-6  # seconds that a message takes to the next chip: an assumption, as in "How to Scale Your Model"


class Estimate(NamedTuple):
    """The least seconds of a step, by what they are needed for.

    Attributes:
        compute: the operations, at the peak.
        memory: the bytes that are read and written.
        links: the bytes that are reduced.
        hops: the ways of all collectives, one after another.
    """

    compute: float
    memory: float
    links: float
    hops: float

    @property
    def step(self) -> float:
        """Return the seconds of a step."""
        return max(self.compute, self.memory) + self.links + self.hops


def make_mesh(chips: int = 8) -> Mesh:
    """Return a mesh of abstract chips; libtpu searches for no real ones, and other processes may use it too.

    Args:
        chips: a number in `TOPOLOGIES`.
    """
    alone = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    quiet = {"TPU_ACCELERATOR_TYPE": "v5litepod-8", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_LOG_DIR": "disabled"}
    os.environ.update({name: value for name, value in (alone | quiet).items() if name not in os.environ})
    grid = "x".join(map(str, TOPOLOGIES[chips]))
    return devices.make_mesh(topologies.get_topology_desc(platform="tpu", topology_name=f"v5e:{grid}").devices)


def lower_step(stage: str, config: ConfigDict, classes: int, mesh: Mesh) -> jax.stages.Lowered:
    """Return the training step of a stage, ready to be compiled for the devices of a mesh.

    Args:
        stage: see `make_method`.
        config: the keys of that stage.
        classes: number of classes.
        mesh: its devices share the batch.
    """
    method, size = make_method(stage, config, classes), input_size(config)
    optimiser = make_optimiser(config, 1.0, method.group, method.has_positive)
    variables = {"batch_stats": {}} | shapes(method.module, (1, size, size, 3))
    state = jax.eval_shape(lambda variables: initial_state(variables, method.memory, optimiser), variables)
    step = make_step(method, optimiser, seed=0, total_steps=1, mesh=mesh)
    batch = abstract_batch(config.batch_size, size)
    return step.lower(_placed(state, devices.replicated(mesh)), _placed(batch, devices.sharded(mesh)))


def abstract_batch(photos: int, size: int) -> Batch:
    """Return the shapes and types of a batch.

    Args:
        photos: in the batch.
        size: side of the images, pixels.
    """
    rows = {
        "image": ((size, size, 3), jnp.uint8), "window": ((4,), jnp.float32), "flip": ((), jnp.bool),
        "label": ((), jnp.int32), "target": ((4,), jnp.float32), "index": ((), jnp.int32), "valid": ((), jnp.bool),
    }  # fmt: skip
    return Batch(**{name: jax.ShapeDtypeStruct((photos, *shape), dtype) for name, (shape, dtype) in rows.items()})


def _placed(tree: Any, sharding: Sharding) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def collectives(program: str) -> tuple[Counter[str], Counter[str]]:
    """Return the collectives of a compiled program (HLO), by kind.

    Returns:
        Their number, and the bytes of their results on each device. A loop's body counts once.
    """
    counts, sizes = Counter(), Counter()
    for results, kind in re.findall(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", program):
        counts[kind] += 1
        sizes[kind] += sum(
            math.prod(map(int, filter(None, shape.split(",")))) * int(bits or 8) // 8  # a bool has no number of bits
            for bits, shape in re.findall(r"\b[a-z]+(\d*)\[([\d,]*)\]", results)
        )
    return counts, sizes


def estimate(compiled: jax.stages.Compiled, chips: int, loops: Mapping[str, float] = MappingProxyType({})) -> Estimate:
    """Return the roofline of a compiled step.

    Args:
        compiled: the step.
        chips: that it is compiled for.
        loops: 'flops' and 'bytes accessed' of the turns of loops that the compiler does not count.
    """
    cost = compiled.cost_analysis()
    operations, accessed = (cost[name] + loops.get(name, 0) for name in ("flops", "bytes accessed"))
    counts, sizes = collectives(compiled.as_text())
    rows, columns = TOPOLOGIES[chips]
    is_torus = chips == 256
    farthest = (rows + columns) // 2 if is_torus else rows + columns - 2
    links = (4 if is_torus else 2) * LINK
    reduced = 2 * (chips - 1) / chips * sum(sizes.values()) / links
    return Estimate(operations / PEAK, accessed / MEMORY, reduced, 2 * farthest * HOP * sum(counts.values()))


def clustering(config: ConfigDict, turns: int, mesh: Mesh) -> dict[str, float]:
    """Return the operations and bytes of DA-WSOL's clustering of the photos of a chip.

    Args:
        config: the keys of `train`; the chips share its `batch_size`.
        turns: of K-means, for each photo.
        mesh: the chips.
    """
    cells, channels = (input_size(config) // config.arch_kwargs.stride) ** 2, 2048
    photo = jnp.zeros((cells, channels)), jnp.zeros((3, channels)), jnp.zeros((), bool)
    cost = jax.jit(cluster).lower(*_placed(photo, devices.replicated(mesh))).compile().cost_analysis()
    return {name: config.batch_size // mesh.size * turns * cost[name] for name in ("flops", "bytes accessed")}


def table(name: str, compiled: jax.stages.Compiled) -> str:
    """Return a table of a compiled step for one chip; a step that needs more memory than that does not compile."""
    memory = compiled.memory_analysis()
    held = {
        "program": memory.generated_code_size_in_bytes,
        "arguments": memory.argument_size_in_bytes,
        "other outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,  # the rest replaces arguments
        "temporaries": memory.temp_size_in_bytes,
    }
    lines = [f"  {part:20}{size / MIB:10.1f} MiB" for part, size in held.items()]
    lines += [f"  {'together':20}{sum(held.values()) / MIB:10.1f} MiB, fits the 16 GB of a chip"]
    counts, sizes = collectives(compiled.as_text())
    lines += [f"  {kind:20}{sizes[kind] / MIB:10.1f} MiB in {counts[kind]}" for kind in KINDS]
    lines += [f"  {'operations':20}{compiled.cost_analysis()['flops'] / 1e9:10.1f} GFLOP"]
    return "\n".join([name, *lines])


def training_keys(step: str, arch: str, dtype: str, batch_size: int) -> ConfigDict:
    """Return the keys of a step: those of its experiment, with the network, the precision and the size of a batch."""
    config = dawsol_ilsvrc.get_config().train if step == "dawsol" else base.get_config()[step]
    config.update(arch=arch, dtype=dtype, batch_size=batch_size)
    return config


def compile_step(step: str, arch: str, dtype: str, photos: int, chips: int, turns: int) -> Estimate | None:
    """Print the table of a step, and return its estimate; None if it does not fit into the memory of a chip."""
    mesh, config = make_mesh(chips), training_keys(step, arch, dtype, photos * chips)
    name = f"{step}, {arch}, {dtype}, {photos} photos on each of {chips} {mesh.devices[0].device_kind}"
    start = time.perf_counter()
    try:
        compiled = lower_step("train" if step == "dawsol" else step, config, CLASSES, mesh).compile()
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        print(f"{name}\n  DOES NOT FIT: {str(error).splitlines()[0]}\n", flush=True)
        return None
    least = estimate(compiled, chips, clustering(config, turns, mesh) if step == "dawsol" else {})
    print(table(name, compiled))
    print(f"  {'bytes of memory':20}{compiled.cost_analysis()['bytes accessed'] / 1e9:10.1f} GB")
    for part, seconds in (least._asdict() | {"step": least.step}).items():
        print(f"  {part + ', at least':20}{1000 * seconds:10.2f} ms")
    print(f"  {'share of the peak':20}{100 * least.compute / least.step:10.1f} %")
    print(f"  {'compiled in':20}{time.perf_counter() - start:10.1f} s\n", flush=True)
    return least


def main(_: list[str]) -> None:
    """Run the benchmark."""
    jax.config.update("jax_platforms", "cpu")  # for the few values that are computed here
    for arch in ARCH.value:
        for step in STEP.value:
            least = [
                compile_step(step, arch, DTYPE.value, PHOTOS.value, int(chips), TURNS.value) for chips in CHIPS.value
            ]
            if len(least) > 1 and all(least):
                share = 100 * least[0].step / least[-1].step
                print(
                    f"{step}, {arch}: {share:.1f} % of the speed of a chip is left, {' to '.join(CHIPS.value)} chips\n"
                )


if __name__ == "__main__":
    ARCH = flags.DEFINE_list("arch", ["resnet50"], "Names in wsol_jax.backbones.BACKBONES.")
    STEP = flags.DEFINE_list("step", ["classifier"], "Of classifier, localizer and dawsol.")
    CHIPS = flags.DEFINE_list("chips", ["8"], "Of 8 and 256.")
    DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the networks' computation.")
    PHOTOS = flags.DEFINE_integer("photos", A_CHIP, "On each chip.")
    TURNS = flags.DEFINE_integer("turns", 15, "Of K-means, for dawsol.")
    app.run(main)
