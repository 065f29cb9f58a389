"""The surroundings of a stage: workdir, photos, seed, devices, and the configurations of its inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError


class Context(NamedTuple):
    """The surroundings of a stage.

    Attributes:
        workdir: the folder of the run.
        dataset: the readable photos.
        seed: of the run.
        mesh: the devices.
        configs: stage -> its configuration, for the stages whose results this one uses.
    """

    workdir: Path
    dataset: Dataset
    seed: int
    mesh: Mesh
    configs: dict[str, ConfigDict]


def training_records(context: Context) -> Sequence[Record]:
    """Return the photos that a network learns: those of training that show an object.

    Raises:
        InputError: there are none.
    """
    if "train" not in context.dataset.splits:
        raise InputError("the dataset has no training photos; expected a split 'train'")
    records = context.dataset.splits["train"]
    kept = [record for record in records if not record.is_empty]
    if not kept:
        raise InputError(f"all {len(records)} training photos are marked as without an object; expected some with one")
    return kept


def chosen_splits(splits: str, context: Context) -> list[str]:
    """Return the splits of a comma-separated list; 'all' is every split.

    Raises:
        InputError: one of them has no photos.
    """
    names = [name.strip() for name in splits.split(",")] if splits != "all" else list(context.dataset.splits)
    for name in names:
        if name not in context.dataset.splits:
            raise InputError(
                f"splits names {name!r}, of which there are no photos; expected {', '.join(context.dataset.splits)}"
            )
    return names
