"""The stage `read_maps`: score maps of another program, IMAGE.npy each, checked and counted."""

import json

from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import to_path
from wsol_jax.progress import track
from wsol_jax.stages import maps
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.map_runs import foreign_maps
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import read_maps_file
from wsol_jax.threads import in_threads


def run(config: ConfigDict, context: Context) -> None:
    """Read every map of `dir` once, and write maps.json, the number of maps of each split."""
    counts = {}
    for split in chosen_splits(config.splits, context):
        records, source = context.dataset.splits[split], foreign_maps(config, context.dataset, split)
        counts[split] = sum(1 for _ in track(in_threads(source, range(len(records))), len(records), f"maps, {split}"))
    text = json.dumps({"dir": config.dir, "maps": counts}, indent=2)
    write_atomically(read_maps_file(context.workdir), lambda file: file.write(text.encode()))


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if there is no folder of maps, or a split without photos."""
    if not config.dir or not to_path(config.dir).expanduser().is_dir():
        raise InputError(f"dir is {config.dir!r}; expected a folder of IMAGE.npy files")
    chosen_splits(config.splits, context)


STAGE = Stage(
    key="maps",
    defaults=maps.defaults,
    check_keys=maps.check_keys,
    outputs=("maps.json",),
    run=run,
    check=check,
    files=lambda config: {config.dir: to_path(config.dir).expanduser()} if config.dir else {},
)
