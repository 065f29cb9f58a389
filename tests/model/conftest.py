"""Finished runs of each kind on generated scenes, and those scenes as photos."""

from pathlib import Path

import experiments
import pytest
from ml_collections import ConfigDict

from wsol_jax import run

SEP = {"stages": "localizer,classifier,predict", "pseudo.source": "truth", "predict.mirror": True}
JOINT = {"stages": "joint,predict", "pseudo.source": "truth"}
MASKS = {
    "stages": "localizer,predict",
    "pseudo.source": "truth",
    "localizer.arch": "efficientnet_lite0",
    "localizer.arch_kwargs": ConfigDict(experiments.NARROW["efficientnet_lite0"]),
    "localizer.head": "mask",
    "localizer.freeze": "conv_head",
}
MAPS = {
    "stages": "train,predict",
    "predict.test_geometry": "resize",
    "train.dawsol.use": True,
    "train.dawsol.samples": 2,
}


def finished(place: Path, **changes) -> Path:
    changes["stages"] = f"pseudo_boxes,{changes['stages']}" if "pseudo.source" in changes else changes["stages"]
    run(experiments.tiny(**{"predict.splits": "all", **changes}), place)
    return place


@pytest.fixture(scope="session")
def sep(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("sep"), **SEP)


@pytest.fixture(scope="session")
def masks(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("masks"), **MASKS)


@pytest.fixture(scope="session")
def joint(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("joint"), **JOINT)


@pytest.fixture(scope="session")
def maps(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("maps"), **MAPS)


@pytest.fixture(scope="session")
def scenes():
    """The test photos of these runs: records and pixels."""
    dataset = experiments.scenes()
    records = dataset.splits["test"]
    return records, [dataset.read(record) for record in records]
