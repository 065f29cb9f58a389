"""Statistics of DDT that are read back: those of something else are one line that names the file."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.pseudo.ddt import undefined
from wsol_jax.pseudo.heat_maps import fit_heat_maps, read_direction

KEYS = ConfigDict(dict(batch_size=4, sign="max_loading", max_bytes=0))
GROUPS = np.array([0, 1, 0])


def write(folder, **changes):
    """Two groups of two photos and of one; `changes` are of the second."""
    files = [folder / "a.npz", folder / "b.npz"]
    for file, heat, changed in zip(files, (np.ones((2, 3, 4)), np.zeros((1, 3, 4))), ({}, changes), strict=True):
        np.savez(file, **(undefined(5, 2, "max_loading")._asdict() | {"heat": heat.astype("f4")} | changed))
    return files


def test_what_is_done_is_read_back(tmp_path):
    heat = fit_heat_maps(None, None, GROUPS, write(tmp_path), KEYS)
    assert heat[:, 0, 0].tolist() == [1, 0, 1]
    assert read_direction(tmp_path / "b.npz").mean.shape == (5,)


@pytest.mark.parametrize(
    "heat", [np.zeros((2, 3, 4)), np.zeros((1, 4, 3)), np.zeros((1, 3, 4), int), np.array("text"), np.array([{}])]
)
def test_other_maps_in_the_place_of_a_group(heat, tmp_path):
    with pytest.raises(InputError, match=r"b\.npz (has maps .*expected float32 \[1, 3, 4\]|is damaged).*; delete it"):
        fit_heat_maps(None, None, GROUPS, write(tmp_path, heat=heat), KEYS)


@pytest.mark.parametrize(
    "changes",
    [{"mean": np.zeros(4)}, {"mean": np.zeros((5, 5))}, {"images": np.zeros(2)}, {"mean": np.array(["a"] * 5)}],
)
def test_other_statistics_in_the_place_of_a_group(changes, tmp_path):
    with pytest.raises(InputError, match=r"b\.npz has no mean and direction of one length; delete it"):
        read_direction(write(tmp_path, **changes)[1])
