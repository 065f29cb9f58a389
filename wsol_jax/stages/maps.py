"""The stage `maps`: every predicted score map as maps/SPLIT/IMAGE.npy, the layout that wsolevaluation reads."""

from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.evaluation.maps import MapSource
from wsol_jax.files import write_atomically
from wsol_jax.progress import track
from wsol_jax.stages.context import Context
from wsol_jax.stages.map_runs import predicted_maps
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import activations_file, predictions_file, score_map_file
from wsol_jax.threads import for_files, in_threads


def defaults() -> ConfigDict:
    """Return the keys of `maps` with their defaults; the stages `maps` and `read_maps` share them."""
    return ConfigDict(
        dict(
            size=224,  # side of the square maps, pixels
            dir="",  # read_maps: a folder of IMAGE.npy
            splits="test",  # read_maps: comma-separated, the splits with maps in `dir`
            prefix="images/",  # the start of the photos' paths that the maps' paths do not have
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.positive(config, "size")
    checks.memory(config, "size", 2 * config.size**2 * 8, "a score map")


def run(config: ConfigDict, context: Context) -> None:
    """Write a float32 [size, size] map in [0, 1] for every photo of every predicted split."""
    for split, records in context.dataset.splits.items():
        activations = activations_file(predictions_file(context.workdir, split))
        if not activations.exists():
            continue
        source = predicted_maps(activations, config.size)
        names = {record.path.removeprefix(config.prefix): i for i, record in enumerate(records)}
        write = partial(_write, workdir=context.workdir, split=split, source=source)
        written = in_threads(write, list(names.items()), threads=for_files(context.workdir))
        for _ in track(written, len(names), f"maps, {split}", unit="maps"):
            pass


def _write(item: tuple[str, int], workdir: Path, split: str, source: MapSource) -> None:
    name, i = item
    values = source(i).astype(np.float32)
    write_atomically(score_map_file(workdir, split, name), lambda file: np.save(file, values))


STAGE = Stage(key="maps", defaults=defaults, check_keys=check_keys, inputs=("predict",), outputs=("maps",), run=run)
