"""Photos that become unreadable after the check: one line that names the photo ends the run."""

import json

import experiments
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.runs import run as runs


@pytest.fixture
def photo(tmp_path):
    """One training photo of a folder dataset; every one of them is a training photo."""
    experiments.write_folder(tmp_path / "data")
    return sorted((tmp_path / "data").rglob("*.jpg"))[3]


def config(tmp_path, stages):
    keys = {"data.name": "folder", "data.dir": str(tmp_path / "data"), "data.folder.test_fraction": 0.0}
    return experiments.tiny(**keys, stages=stages, **{"classifier.epochs": 2.0})


def run_spoiled(stages, spoil, photo, tmp_path, monkeypatch) -> str:
    """Run stages on photos of which one is spoiled as soon as they are checked; return the error."""
    check = runs.check_photos

    def check_then_spoil(*args, **kwargs):
        checked = check(*args, **kwargs)
        spoil(photo)
        return checked

    monkeypatch.setattr(runs, "check_photos", check_then_spoil)
    with pytest.raises(InputError) as error:
        run(config(tmp_path, stages), tmp_path / "w")
    return str(error.value)


@pytest.mark.parametrize("stage", ["classifier", "pseudo_boxes"])
def test_a_deleted_photo_is_named(stage, photo, tmp_path, monkeypatch):
    error = run_spoiled(stage, lambda file: file.unlink(), photo, tmp_path, monkeypatch)
    assert error == f"{photo}: no such photo"


def test_a_truncated_photo_is_named(photo, tmp_path, monkeypatch):
    error = run_spoiled("classifier", lambda f: f.write_bytes(f.read_bytes()[:-100]), photo, tmp_path, monkeypatch)
    assert error.startswith(f"{photo}: not a readable photo (") and "truncated" in error
    assert "\n" not in error


def test_a_photo_that_the_cache_of_the_check_hides_is_named(photo, tmp_path):
    run(config(tmp_path, "pseudo_boxes"), tmp_path / "w")
    cache, name = tmp_path / "w" / "photos.parquet", photo.relative_to(tmp_path / "data").as_posix()
    photo.write_bytes(photo.read_bytes()[:-100])
    status, known = photo.stat(), pq.read_table(cache)
    rows = known.to_pylist()
    for row in rows:
        if row["path"] == name:
            row |= {"bytes": status.st_size, "modified": status.st_mtime_ns, "changed": status.st_ctime_ns}
    pq.write_table(pa.Table.from_pylist(rows, known.schema), cache)
    with pytest.raises(InputError) as error:
        run(config(tmp_path, "classifier"), tmp_path / "w")
    assert str(error.value).startswith(f"{photo}: not a readable photo (") and "\n" not in str(error.value)
    assert not json.loads((tmp_path / "w" / "stages" / "classifier.json").read_text())["finished"]
