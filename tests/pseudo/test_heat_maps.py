"""Heat maps of training photos and of others, in files where they are many, and what is read back of them.

Statistics of something else are one line that names the file.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from wsol_jax import arrays, processes
from wsol_jax.errors import InputError
from wsol_jax.pseudo import ddt, heat_maps
from wsol_jax.pseudo.ddt import Chunk, undefined
from wsol_jax.pseudo.heat_maps import apply_heat_maps, fit_heat_maps, read_direction

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


FEATURES = np.random.default_rng(0).normal(size=(7, 3, 4, 5)).astype(np.float32)
OF_SEVEN = np.array([0, 1, 0, 1, 1, 0, 1])


def read(indices: np.ndarray) -> Iterator[Chunk]:
    """Chunks of four, whose pixels are their features."""
    for start in range(0, len(indices), 4):
        index = np.resize(indices[start : start + 4], 4)
        yield Chunk(index, np.arange(4) < len(indices) - start, jnp.asarray(FEATURES[index]))


def forward(features: jax.Array) -> jax.Array:
    return features


def files_in(folder):
    return [folder / "a.npz", folder / "b.npz"]


@pytest.fixture
def fitted(tmp_path):
    return fit_heat_maps(forward, read, OF_SEVEN, files_in(tmp_path / "whole"), KEYS)


def test_heat_maps_are_those_in_the_files_of_their_groups(fitted, tmp_path):
    for group, file in enumerate(files_in(tmp_path / "whole")):
        np.testing.assert_array_equal(fitted[group == OF_SEVEN], np.load(file)["heat"], strict=True)


@pytest.mark.parametrize("removed", [0, 1])
def test_heat_maps_of_a_run_that_was_cut_off_are_the_same(removed, fitted, tmp_path):
    files = files_in(tmp_path / "whole")
    files[removed].unlink()
    np.testing.assert_array_equal(fit_heat_maps(forward, read, OF_SEVEN, files, KEYS), fitted, strict=True)


def test_other_maps_in_a_file_of_a_run_that_was_cut_off_are_named(fitted, tmp_path):
    files = files_in(tmp_path / "whole")
    files[1].unlink()
    np.savez(files[0], **undefined(5, 3, "max_loading")._asdict(), heat=np.zeros((3, 9, 9), np.float32))
    with pytest.raises(InputError, match=r"a\.npz has maps .* \[3, 9, 9\]; expected float32 \[3, 3, 4\]; delete it"):
        fit_heat_maps(forward, read, OF_SEVEN, files, KEYS)


def test_many_heat_maps_are_in_files_alone(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    found, of_groups = ddt.find_directions, []

    def noted(*arguments, **keys):
        for group, direction, members, maps in found(*arguments, **keys):
            of_groups.append(maps)
            yield group, direction, members, maps

    monkeypatch.setattr(ddt, "find_directions", noted)
    heat = fit_heat_maps(forward, read, OF_SEVEN, files_in(tmp_path / "mapped"), KEYS)
    assert [isinstance(maps.base, np.memmap) for maps in (heat, *of_groups)] == [True] * 3
    np.testing.assert_array_equal(heat, fitted, strict=True)


def test_another_process_than_the_first_keeps_and_writes_nothing(fitted, tmp_path, monkeypatch):
    """But it takes part in every pass."""
    files, passed, kept = files_in(tmp_path / "whole"), [], []
    files[0].unlink()

    def noted(features):
        passed.append(len(features))
        return features

    monkeypatch.setattr(processes, "is_first", lambda: False)
    for module in (ddt, heat_maps):
        monkeypatch.setattr(module, "scratch", lambda *arguments: kept.append(arguments))
    assert fit_heat_maps(noted, read, OF_SEVEN, files, KEYS) is None
    assert apply_heat_maps(noted, read, OF_SEVEN, files) is None
    assert passed == [4] * 4 and kept == [] and not files[0].exists()
