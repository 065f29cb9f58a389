"""Scenes, networks and configurations small enough to train in a test."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from configs.base import get_config
from wsol_jax import devices
from wsol_jax.backbones import initialise
from wsol_jax.data import load_dataset
from wsol_jax.data.records import Dataset
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Variables
from wsol_jax.stages.networks import make_method
from wsol_jax.training.batches import training_batches
from wsol_jax.training.best_epoch import Select
from wsol_jax.training.loop import Batches, fit
from wsol_jax.training.step import TrainState
from wsol_jax.training.watch import Watch

ROOT = Path(__file__).parent.parent
SIZE = 64
CLASSES = 3

NARROW = {
    "resnet50": dict(depths=(1, 1, 1, 1), width=8),
    "vgg_gap": dict(depths=(1, 1, 1, 1, 1), widths=(4, 4, 6, 6, 8)),
    "inception_v3": dict(width=2),
    "efficientnet_lite0": dict(depths=(1, 1, 1, 1, 1, 1, 1), widths=(4, 4, 6, 6, 8, 8, 10), stem=4, top=16),
}


def mesh(size: int) -> Mesh:
    """The first devices in an order that is not that of their ids, as on a TPU."""
    ordered = devices.make_mesh(jax.devices()[:size])
    return Mesh(np.roll(ordered.devices[::-1], size // 3), ordered.axis_names, axis_types=ordered.axis_types)


def scenes(train: int = 24, test: int = 10) -> Dataset:
    config = get_config().data
    config.scenes.update(classes=CLASSES, train=train, test=test, size=SIZE)
    return load_dataset(config, seed=0)


def true_boxes(dataset: Dataset) -> np.ndarray:
    return np.concatenate([record.boxes for record in dataset.splits["train"]])


def config(stage: str = "localizer", arch: str = "resnet50", **changes) -> ConfigDict:
    """The keys of a training stage for a narrow network: four steps of eight photos, each of them logged."""
    keys = get_config()[stage].unlock()
    keys.update(arch=arch, size=SIZE, batch_size=8, epochs=4 * 8 / 24, checkpoint_every=2, log_every=1)
    keys.arch_kwargs = ConfigDict(NARROW[arch])
    keys.update(changes)
    return keys.lock()


class Experiment(NamedTuple):
    """The inputs of a training, except for the devices."""

    dataset: Dataset
    config: ConfigDict
    method: Method
    variables: Variables

    def batches(self, steps: range, mesh: Mesh) -> Iterator[Batch]:
        boxes = true_boxes(self.dataset) if "box_weight" in self.config else None
        records = self.dataset.splits["train"]
        return training_batches(self.dataset, records, boxes, config=self.config, seed=0, steps=steps, mesh=mesh)

    def train(
        self,
        folder: Path,
        mesh: Mesh,
        batches: Batches | None = None,
        watch: Watch | None = None,
        select: Select | None = None,
    ) -> TrainState:
        """Train in `folder` to the last step, with other batches than its own if they are given."""
        return fit(
            folder,
            self.method,
            self.variables,
            batches or (lambda steps: self.batches(steps, mesh)),
            photos=len(self.dataset.splits["train"]),
            config=self.config,
            seed=0,
            mesh=mesh,
            watch=watch,
            select=select,
        )


def experiment(stage: str = "localizer", arch: str = "resnet50", **changes) -> Experiment:
    keys = config(stage, arch, **changes)
    method = compiled(make_method(stage, keys, CLASSES))
    variables = initialise(jax.random.key(0), method.module, (1, SIZE, SIZE, 3))
    return Experiment(scenes(), keys, method, variables)


def compiled(method: Method) -> Method:
    """The method with network and prediction compiled as whole programs, not operation by operation."""
    network, predict = jax.jit(method.network, static_argnums=4), jax.jit(method.predict)
    return method._replace(network=network, predict=predict)


def saves(folder: Path, pattern: str) -> list[Path]:
    return list((folder / "checkpoints").glob(pattern))


def wait_for(moment: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not moment():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.001)


def assert_trees_equal(a: object, b: object) -> None:
    """The same names and, bit for bit, the same numbers."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=jax.tree_util.keystr(path), strict=True)


def free_address() -> str:
    """localhost with a port that nothing listens to."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def python(source: str, *args: object, cwd: Path | None = None, **environment: str) -> subprocess.Popen:
    """Start another Python, which can import the package, the configs and this file."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    known = {"PYTHONPATH": os.pathsep.join(paths), "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}
    known["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(jax.config.read("jax_disable_most_optimizations")))
    command = [sys.executable, "-c", textwrap.dedent(source), *map(str, args)]
    return subprocess.Popen(
        command, cwd=cwd, env=os.environ | known | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
