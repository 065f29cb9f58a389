"""The cost of DA-WSOL in a training step relative to the same step of CAM, and the cost of its K-means.

    python benchmarks/dawsol.py --weights=resnet50.safetensors --photos=FOLDER_OF_FOLDERS
    python benchmarks/dawsol.py --tpu                       needs libtpu: pip install "jax[tpu]"

Trains the whole of ResNet-50 with maps of 14 x 14 and 28 x 28 cells of 2,048 channels, quadratic MMD, and one set of
anchors per batch. Both steps take turns on one core; the processor time of the process is measured, so that other work
on the core does not count. The K-means of the same features is compared with scikit-learn's (which the project does not
need) from the same centres. With --tpu both steps are compiled for eight v5e chips, 32 photos each, without running
them: memory, communication and the ratio of operations. A compiler counts a loop's body once, so the clustering of a
photo is counted again for each photo and each of --turns turns, an upper bound.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

ARCH = flags.DEFINE_string("arch", "resnet50_v1", "A name in wsol_jax.backbones.BACKBONES.")
WEIGHTS = flags.DEFINE_string("weights", "", "Of that network; random ones if not given.")
PHOTOS = flags.DEFINE_string("photos", "", "A folder of JPEG photos, one folder for each class; noise if not given.")
BATCH = flags.DEFINE_integer("batch", 4, "Photos in a batch.")
REPEATS = flags.DEFINE_integer("repeats", 7, "Of each measurement.")
CORE = flags.DEFINE_integer("core", None, "The core to run on; any one if not given.")
STRIDES = flags.DEFINE_list("strides", ["16", "8"], "Pixels of a cell of the map.")
TPU = flags.DEFINE_bool("tpu", False, "Compile for TPUs instead.")
TURNS = flags.DEFINE_integer("turns", 15, "Of K-means, for --tpu; without it they are measured and printed.")

CLASSES, SIZE = 200, 224


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    if TPU.value:
        compile_for_chips()
        return
    os.sched_setaffinity(0, {CORE.value if CORE.value is not None else min(os.sched_getaffinity(0))})
    for stride in map(int, STRIDES.value):
        time_steps(stride)


def training_keys(stride: int, use: bool, batch_size: int) -> Any:
    """Return the keys of `train` for CAM, or for DA-WSOL on top of it."""
    from configs.dawsol_cub import get_config

    config = get_config().train.unlock()
    config.update(arch=ARCH.value, weights=WEIGHTS.value, size=SIZE, batch_size=batch_size)
    config.arch_kwargs.stride = stride
    config.dawsol.update(use=use, domain_loss="mmd_quadratic")
    return config


def time_steps(stride: int) -> None:
    """Print the times of both steps, and of the two K-means."""
    import jax

    from wsol_jax import devices

    mesh, steps = devices.make_mesh(), {}
    batch = devices.put(read_batch(), mesh)
    for name, use in (("CAM", False), ("DA-WSOL", True)):
        steps[name] = start(training_keys(stride, use, BATCH.value), batch, mesh)
    seconds = {name: [] for name in steps}
    for _ in range(REPEATS.value):
        for name, step in steps.items():
            seconds[name].append(processor_seconds(step))
    side = SIZE // stride
    print(f"{ARCH.value}, {side} x {side} cells, {BATCH.value} photos, one core", flush=True)
    for name, each in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(each, seconds["CAM"], strict=True))
        milliseconds = 1000 * statistics.median(each) / BATCH.value
        print(f"  {name:24} {milliseconds:9.1f} ms per photo {ratio:8.3f} x", flush=True)
    state = steps["DA-WSOL"].state
    features = jax.jit(features_of(training_keys(stride, True, BATCH.value)))(state.params, state.batch_stats, batch)
    time_clusters(np.asarray(features), batch.label, state.memory.anchors)


class Step:
    """A training step that keeps its own state."""

    def __init__(self, step: Callable, state: Any, batch: Any):
        self.step, self.state, self.batch = step, state, batch

    def __call__(self) -> None:
        """Run one more step and wait for its results."""
        import jax

        self.state, logs = self.step(self.state, self.batch)
        jax.block_until_ready((self.state, logs))


def start(config: Any, batch: Any, mesh: Any) -> Step:
    """Return a compiled step, with all terms of its loss."""
    import jax

    from wsol_jax import devices
    from wsol_jax.backbones import initialise
    from wsol_jax.stages.networks import make_method
    from wsol_jax.training.optimiser import make_optimiser
    from wsol_jax.training.step import initial_state, make_step
    from wsol_jax.weights.pretrained import load_weights

    method = make_method("train", config, CLASSES)
    variables = initialise(jax.random.key(0), method.module, (1, SIZE, SIZE, 3))
    if config.weights:
        variables, _ = load_weights(method.module, variables, config.weights, config.arch, True)
    optimiser = make_optimiser(config, 100.0, method.group, method.has_positive)
    state = initial_state(variables, method.memory, optimiser)
    state = devices.replicate(state._replace(step=np.int32(5_000)), mesh)  # the last epoch
    step = Step(make_step(method, optimiser, 0, 5_001, mesh), state, batch)
    for _ in range(2):
        step()
    return step


def features_of(config: Any) -> Callable:
    """Return the function (params, batch_stats, batch) -> pixels [b, n, d] of the last map."""
    from wsol_jax.stages.networks import make_method

    method = make_method("train", config, CLASSES)

    def features(params: Any, batch_stats: Any, batch: Any) -> Any:
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, _ = method.network(variables, method.prepare(batch.image), None, None, False)
        last = list(outputs.stages.values())[-1] if len(outputs.stages) == 1 else outputs.stages["layer4"]
        return last.reshape(len(last), -1, last.shape[-1])

    return features


def time_clusters(features: np.ndarray, label: Any, anchors: Any) -> None:
    """Print the times of K-means here and in scikit-learn, and their agreement."""
    import jax

    from wsol_jax.methods.dawsol.target_samples import assign_after_training

    try:
        from sklearn.cluster import k_means
    except ImportError:
        print("  scikit-learn is not installed; its K-means is left out", flush=True)
        return
    own_clusters = jax.jit(assign_after_training)
    assigned = jax.block_until_ready(own_clusters(features, label, anchors))
    own = np.asarray(anchors.of_class)[np.asarray(label)]
    starts = np.stack([np.tile(anchors.universum, (len(own), 1)), features.mean(1), own], axis=1)

    def sklearn_clusters() -> list[tuple]:
        return [k_means(x, 3, init=start, n_init=1, random_state=0) for x, start in zip(features, starts, strict=True)]

    seconds = [
        (
            processor_seconds(lambda: jax.block_until_ready(own_clusters(features, label, anchors))),
            processor_seconds(sklearn_clusters),
        )
        for _ in range(REPEATS.value)
    ]
    ratio = statistics.median(b / a for a, b in seconds)
    agree = np.mean([a == b[1] for a, b in zip(np.asarray(assigned.assignment), sklearn_clusters(), strict=True)])
    turns = np.asarray(assigned.turns)
    print(f"  K-means: {turns.mean():.1f} turns ({turns.max()} at most), {100 * agree:.2f} % of the pixels agree")
    for name, column in (("K-means here", 0), ("scikit-learn's", 1)):
        each = 1000 * statistics.median(row[column] for row in seconds) / len(features)
        print(f"  {name:24} {each:9.1f} ms per photo" + (f" {ratio:8.1f} x" if column else ""), flush=True)


def read_batch() -> Any:
    """Return a batch of photos, or of noise."""
    from PIL import Image

    from wsol_jax.data.render import Batch

    rng, b = np.random.default_rng(0), BATCH.value
    image, label = rng.integers(0, 256, (b, SIZE, SIZE, 3), np.uint8), np.arange(b, dtype=np.int32) // 2 % CLASSES
    if PHOTOS.value:
        files = sorted(Path(PHOTOS.value).rglob("*.jpg"))
        files = [files[i] for i in np.linspace(0, len(files) - 1, b).round().astype(int)]
        image = np.stack([np.asarray(Image.open(file).convert("RGB").resize((SIZE, SIZE))) for file in files])
        folders = sorted({file.parent for file in files})
        label = np.array([folders.index(file.parent) for file in files], np.int32)
    whole, zeros = np.tile(np.array([0, 0, 1, 1], np.float32), (b, 1)), np.zeros(b, bool)
    return Batch(image, whole, zeros, label, np.zeros((b, 4), np.float32), np.arange(b, dtype=np.int32), ~zeros)


def processor_seconds(run: Callable[[], object]) -> float:
    """Return the processor time of this process in a call."""
    before = time.process_time()
    run()
    return time.process_time() - before


def compile_for_chips() -> None:
    """Print both steps as compiled for eight chips, and the ratio of their operations."""
    sys.path.insert(0, str(Path(__file__).parent))
    import jax
    import tpu

    from wsol_jax.methods.dawsol.kmeans import cluster

    jax.config.update("jax_platforms", "cpu")
    mesh = tpu.make_mesh()
    for stride in map(int, STRIDES.value):
        operations, pixels = {}, (SIZE // stride) ** 2
        for name, use in (("CAM", False), ("DA-WSOL", True)):
            config = training_keys(stride, use, tpu.A_CHIP * mesh.size)
            compiled = tpu.lower_step("train", config, CLASSES, mesh).compile()
            print(
                tpu.table(f"{name}, {ARCH.value}, {pixels} cells, {tpu.A_CHIP} photos per chip", compiled), flush=True
            )
            operations[name] = compiled.cost_analysis()["flops"]
        shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in ((pixels, 2048), (3, 2048))]
        one = jax.jit(cluster).lower(*shapes, jax.ShapeDtypeStruct((), bool)).compile().cost_analysis()["flops"]
        loops = tpu.A_CHIP * TURNS.value * one
        print(f"  the clustering of {tpu.A_CHIP} photos, {TURNS.value} turns each: at most {loops / 1e9:.1f} GFLOP")
        print(f"  DA-WSOL: at most {(operations['DA-WSOL'] + loops) / operations['CAM']:.4f} x of CAM\n", flush=True)


if __name__ == "__main__":
    app.run(main)
