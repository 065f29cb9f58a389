"""Families of backbones that no file of configs/ uses run CAM and DDT with one key changed."""

import experiments
import numpy as np
import pytest
import small
import tiny
from ml_collections import ConfigDict

from wsol_jax import run
from wsol_jax.config import check_config
from wsol_jax.errors import InputError
from wsol_jax.pseudo.heat_maps import make_forward

NARROW = {  # one layer a stage
    "densenet161": small.NARROW["densenet161"] | dict(depths=(1, 1, 1, 1)),
    "dpn68": small.NARROW["dpn68"] | dict(depths=(1, 1, 1, 1)),
    "efficientnet_lite0": experiments.NARROW["efficientnet_lite0"],
    "convnext_tiny": small.NARROW["convnext_tiny"] | dict(depths=(1, 1, 1, 1)),
}
FREEZE = {  # gradients compile for seconds, and tests/methods/test_cam.py has them
    "densenet161": "denseblock3",
    "dpn68": "conv4",
    "efficientnet_lite0": "blocks.5",
    "convnext_tiny": "stages.2",
}


def cam(arch: str) -> ConfigDict:
    """configs/cam_cub.py with a narrow network of another architecture, on scenes."""
    config = experiments.tiny("cam_cub", **{"data.name": "scenes", "train.arch": arch})
    with config.unlocked():
        config.train.freeze = FREEZE[arch]
        config.train.arch_kwargs = ConfigDict(NARROW[arch] | dict(stride=config.train.arch_kwargs.stride))
    check_config(config, devices=1)
    return config


@pytest.mark.long
@pytest.mark.parametrize("arch", NARROW)
def test_cam_runs_with_cells_of_8_pixels(arch, tmp_path):
    metrics = run(cam(arch), tmp_path / "w")
    maps = np.load(tmp_path / "w" / "predictions" / "test.maps.npy")
    assert maps.shape == (experiments.TEST, 8, 8) and np.all(maps.std(axis=(1, 2)) > 0)
    assert {"max_box_acc_v2", "top1_cls"} <= set(metrics)


@pytest.mark.parametrize("arch", NARROW)
def test_ddt_reads_the_last_map_of_the_published_network(arch):
    config = experiments.tiny(**{"pseudo.arch": arch}).pseudo
    with config.unlocked():
        config.arch_kwargs = ConfigDict(NARROW[arch])
    image = np.random.default_rng(0).integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    features = make_forward(config, 0, tiny.mesh(1))(image)
    assert features.shape[:3] == (2, 2, 2) and np.all(np.isfinite(features))


def test_cam_on_the_published_convnext_is_refused_in_one_line(tmp_path):
    config = cam("convnext_tiny")
    config.train.arch_kwargs.stride = 32
    with pytest.raises(InputError, match=r"convnext_tiny has layers between .* expected") as error:
        run(config, tmp_path / "w")
    assert "\n" not in str(error.value)
