"""Models on photos of more than 8 bits: black and white are those of the run's own photos."""

import json
import shutil

import experiments
import numpy as np
import pytest
from PIL import Image

import wsol_jax
from wsol_jax.__main__ import run as command
from wsol_jax.errors import InputError

SAMPLES = np.linspace(0, 4095, 64)[None].repeat(48, 0).astype(np.uint16)


@pytest.fixture
def deep(tmp_path, sep):
    """A 12-bit photo, and a finished network in a workdir with the levels of a run on such photos."""
    for name in ("a/1", "a/2", "b/1", "b/2"):
        photo = tmp_path / "photos" / f"{name}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(SAMPLES // (1 + (name != "a/1"))).save(photo)
    names = [path.relative_to(tmp_path / "photos").as_posix() for path in sorted((tmp_path / "photos").rglob("*.png"))]
    coco = {"images": [{"id": name, "file_name": name} for name in names], "categories": [{"id": 1, "name": "a"}]}
    coco["annotations"] = [{"image_id": name, "category_id": 1, "bbox": [0, 0, 9, 9]} for name in names]
    (tmp_path / "seen.json").write_text(json.dumps(coco))
    keys = {"data.name": "folder", "data.dir": str(tmp_path / "photos"), "stages": "pseudo_boxes"}
    wsol_jax.run(experiments.tiny(**keys, **{"pseudo.source": str(tmp_path / "seen.json")}), tmp_path / "run")
    shutil.copytree(sep, tmp_path / "network")
    shutil.copy(tmp_path / "run" / "levels.json", tmp_path / "network")
    return tmp_path / "photos" / "a" / "2.png", tmp_path / "network"


@pytest.mark.long
def test_the_levels_of_a_run_hold_for_other_photos(deep):
    photo, workdir = deep
    model, expected = wsol_jax.load(workdir), np.stack([SAMPLES // 2 >> 4] * 3, axis=-1)
    for kind in (photo, Image.open(photo)):
        np.testing.assert_array_equal(model.pixels(kind), expected)
    np.testing.assert_array_equal(wsol_jax.load(workdir, levels=(0, 8191)).pixels(photo), expected // 2)
    np.testing.assert_allclose(model.predict(photo).boxes, model.predict(expected.astype(np.uint8)).boxes)


def test_a_run_without_such_photos_names_them(deep, sep, tmp_path, capsys):
    photo, _ = deep
    expected = "has integers of more than 8 bits, which the photos of the run do not have; expected their levels"
    with pytest.raises(InputError, match=rf"a/2\.png {expected}"):
        wsol_jax.load(sep).predict(photo)
    with pytest.raises(InputError, match=rf"photo {expected}"):
        wsol_jax.load(sep).draw(Image.open(photo))
    assert command(["predict", str(sep), str(photo.parent), f"--out={tmp_path / 'out'}"]) == 2
    assert expected in capsys.readouterr().err
    assert command(["predict", str(sep), str(photo.parent), f"--out={tmp_path / 'out'}", "--levels=0,4095"]) == 0


@pytest.mark.parametrize("levels", [(0,), (5, 5), 3, (0, float("nan")), "ab"])
def test_wrong_levels_are_one_line(levels, tmp_path):
    with pytest.raises(InputError, match=r"levels is .*; expected two different finite numbers, black and white"):
        wsol_jax.load(tmp_path, levels=levels)


@pytest.mark.parametrize("content", ["", "[1]", '{"floats": 1}', '{"floats": [1, "x"]}'])
def test_damaged_levels_are_one_line(content, tmp_path):
    (tmp_path / "levels.json").write_text(content)
    with pytest.raises(InputError, match=r"levels\.json is damaged; expected levels of black and white"):
        wsol_jax.load(tmp_path)
