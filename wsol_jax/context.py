"""What every stage is given beside its own part of the configuration."""

from pathlib import Path
from typing import NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax.data.records import Dataset


class Context(NamedTuple):
    """Where a stage is and what it may use.

    Attributes:
        workdir: where results are.
        dataset: the photos that can be read.
        seed: of the run.
        mesh: the devices.
        configs: of the stages whose results this one uses, as they were when those were made.
    """

    workdir: Path
    dataset: Dataset
    seed: int
    mesh: Mesh
    configs: dict[str, ConfigDict]
