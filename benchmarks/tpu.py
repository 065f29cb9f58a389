"""The memory and communication of a training step on each of eight TPU v5e chips, as compiled: no chip is needed.

    pip install "jax[tpu]"
    python benchmarks/tpu.py --arch=resnet50,densenet161

Compiles the step of the classifier for 1000 classes and 32 photos per chip, and prints one table for each network: the
memory of a chip, the bytes that the chips exchange, and the floating-point operations. Takes minutes for each network.
"""

import math
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import app, flags
from jax.experimental import topologies
from jax.sharding import Mesh, Sharding
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parent.parent))

from configs.base import get_config
from wsol_jax import devices
from wsol_jax.backbones.initialise import shapes
from wsol_jax.data.render import Batch
from wsol_jax.methods.networks import input_size
from wsol_jax.stages.networks import make_method
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.step import TrainState, initial_state, make_step

CLASSES = 1000
A_CHIP = 32  # photos
MIB = 2**20
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")


def make_mesh() -> Mesh:
    """Return a mesh of eight abstract chips; libtpu searches for no real ones, and other processes may use it too."""
    alone = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    quiet = {"TPU_ACCELERATOR_TYPE": "v5litepod-8", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_LOG_DIR": "disabled"}
    os.environ.update({name: value for name, value in (alone | quiet).items() if name not in os.environ})
    return devices.make_mesh(topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4").devices)


def lower_step(stage: str, config: ConfigDict, classes: int, mesh: Mesh) -> jax.stages.Lowered:
    """Return the training step of a stage, ready to be compiled for the devices of a mesh.

    Args:
        stage: see `make_method`.
        config: the keys of that stage.
        classes: number of classes.
        mesh: its devices share the batch.
    """
    method, size = make_method(stage, config, classes), input_size(config)
    optimiser = make_optimiser(config, 1.0, method.group)
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


def _placed(tree: TrainState | Batch, sharding: Sharding) -> TrainState | Batch:
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


def main(_: list[str]) -> None:
    """Run the benchmark."""
    jax.config.update("jax_platforms", "cpu")  # for the few values that are computed here
    mesh = make_mesh()
    for arch in ARCH.value:
        config = get_config().classifier
        config.update(arch=arch, dtype=DTYPE.value, batch_size=A_CHIP * mesh.size)
        name = f"{arch}, {DTYPE.value}, {A_CHIP} photos on each of {mesh.size} {mesh.devices[0].device_kind}"
        start = time.perf_counter()
        try:
            text = table(name, lower_step("classifier", config, CLASSES, mesh).compile())
        except jax.errors.JaxRuntimeError as error:
            if not str(error).startswith("RESOURCE_EXHAUSTED"):
                raise
            text = f"{name}\n  DOES NOT FIT: {str(error).splitlines()[0]}"
        print(f"{text}\n  {'compiled in':20}{time.perf_counter() - start:10.1f} s\n", flush=True)


if __name__ == "__main__":
    ARCH = flags.DEFINE_list("arch", ["resnet50", "densenet161"], "Names in wsol_jax.backbones.BACKBONES.")
    DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the networks' computation.")
    app.run(main)
