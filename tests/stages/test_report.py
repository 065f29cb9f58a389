"""The page of a score-map run: its own maps, those of compared runs, and runs without maps."""

import io
import re
import shutil

import experiments
import numpy as np
import pages
import pytest

from wsol_jax import run
from wsol_jax.data import index
from wsol_jax.errors import InputError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of CAM on lists with boxes and masks, and the data."""
    place = tmp_path_factory.mktemp("report")
    experiments.write_lists(place / "data")
    run(config(place, stages="train,predict,evaluate"), place / "w")
    return place


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished / "w", tmp_path / "w")


def config(place, **changes):
    return experiments.tiny("cam_butterflies", **({"data.dir": str(place / "data"), "report.photos": 6} | changes))


def page(workdir) -> str:
    return (workdir / "report" / "index.html").read_text()


def counts(html: str, name: str) -> list[int]:
    """The photos of each kind of failure, in a row of the table."""
    row = re.search(rf"<tr><th>{re.escape(name)}</th>(.*?)</tr>", html[html.index("Error analysis") :], re.DOTALL)
    return [0 if cell == "–" else int(cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row[1])]


def test_the_page_of_a_score_map_run(finished, workdir):
    metrics = run(config(finished, stages="report"), workdir)
    html = page(workdir)
    assert "<h1>CAM: w</h1>" in html and "Localizer" not in html
    for text in ("MaxBoxAccV2", "PxAP", "Box accuracy by threshold", "Pixel precision over recall"):
        assert text in html
    assert len(pages.tiles(html)) == 2 * experiments.TEST
    assert pages.shapes(html, "mask") >= experiments.TEST and pages.shapes(html, "fixed") == experiments.TEST
    for name in ("CAM", "Box at the fixed threshold"):
        assert sum(counts(html, name)) == experiments.TEST
    ious = [photo["iou"] for photo in pages.photos(html)]
    right, wrong_class, *_ = counts(html, "CAM")
    assert right + wrong_class == sum(iou >= 0.5 for iou in ious) and len(ious) == experiments.TEST
    assert abs(right + wrong_class - metrics["max_box_acc"] * experiments.TEST / 100) <= 1


def test_a_page_without_pictures_looks_at_no_photo(finished, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "SETTLED", 0)  # these photos are new
    shutil.copytree(finished / "data", tmp_path / "data")
    changes = {"stages": "evaluate,report", "report.photos": 0, "data.index": str(tmp_path / "index.parquet")}
    keys = config(tmp_path, **changes)
    expected = run(keys, workdir)
    for photo in (tmp_path / "data" / "images").rglob("*.jpg"):
        photo.unlink()
    keys.overwrite, keys.evaluate.resamples = True, 21
    metrics = run(keys, workdir)
    assert metrics["max_box_acc_v2"] == expected["max_box_acc_v2"] and pages.photos(page(workdir)) == []
    keys.stages = "predict"
    with pytest.raises(InputError, match="no such photo"):
        run(keys, workdir)


def test_compared_runs(finished, workdir, tmp_path):
    changes = {"report.beside": f"ADL={finished / 'w'},CAM={finished / 'w'}", "stages": "report"}
    run(config(finished, **changes), workdir)
    html = page(workdir)
    assert len(pages.tiles(html)) == 4 * experiments.TEST
    assert "<h1>CAM (this run): w</h1>" in html
    assert counts(html, "ADL") == counts(html, "CAM") == counts(html, "CAM (this run)")
    assert "Box accuracy of each method, IoU ≥ 0.5" in html


def test_a_psol_run_compared_with_maps(finished, tmp_path):
    data = {"data.dir": str(finished / "data"), "pseudo.source": "truth", "stages": "pseudo_boxes,evaluate,report"}
    lists = experiments.load("cam_butterflies").data
    changes = {"data.name": "lists", "report.beside": f"CAM={finished / 'w'}"}
    keys = experiments.tiny(**data, **changes)
    keys.data.lists.update(lists.lists)
    run(keys, tmp_path / "w")
    html = page(tmp_path / "w")
    assert "<h1>PSOL: w</h1>" in html and len(pages.tiles(html)) == 2 * 3
    assert {"Pseudo boxes", "CAM"} <= set(re.findall(r"<tr><th>([^<]*)</th>", html))


def test_remote_heat_maps_are_read_once_for_all_photos(store):
    changes = {"pseudo.source": "truth", "report.photos": -1}
    run(experiments.tiny(**changes, stages="pseudo_boxes,evaluate"), "gs://bucket/w")
    name, heat = "w/pseudo_boxes/heat_test.npy", io.BytesIO()
    np.save(heat, np.random.default_rng(0).random((experiments.TEST, 4, 4)).astype(np.float16))
    store.put(name, heat.getvalue())
    run(experiments.tiny(**changes, stages="report"), "gs://bucket/w")
    html = store.objects["w/report/index.html"][0].decode()
    assert sum("heat" in tile for tile in pages.tiles(html)) == experiments.TEST
    assert store.opened.count(name) == 1


def test_a_run_without_maps_is_an_error_before_any_stage_starts(finished, workdir, tmp_path):
    for place in (tmp_path / "nothing", finished / "data"):
        with pytest.raises(InputError, match=r"--config.report: beside: a has no .*test.maps.npy; expected") as error:
            run(config(finished, **{"report.beside": f"a={place}", "stages": "report"}), workdir)
        assert "\n" not in str(error.value) and not (workdir / "report").exists()


def test_the_page_is_redone_after_a_change_in_a_compared_run(finished, workdir, tmp_path):
    other = shutil.copytree(finished / "w", tmp_path / "other")
    changes = {"report.beside": f"ADL={other}", "stages": "report"}
    run(config(finished, **changes), workdir)
    before = page(workdir)
    (other / "metrics.json").write_text("{}")
    run(config(finished, **changes), workdir)
    assert page(workdir) != before
