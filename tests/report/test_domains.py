"""Domain adaptation on the page: of a real run, of compared runs, and of damaged files."""

import json
import shutil

import experiments
import numpy as np
import pages
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report.domains import captioned_figures
from wsol_jax.stages.map_runs import method_name, read_assignments
from wsol_jax.training.log import WATCH, read_log

WATCHED = [{"step": 0, "epoch": 0, "foreground": 30.0, "gap_foreground": 1.0, "gap_background": 1.5}]
PURE = [WATCHED[0] | {"purity_universum": 8.0, "purity_fake": 41.0, "purity_real": 77.0}]
CAM = [{"step": step, "loss": 1.0, "accuracy": 0.5} for step in (10, 20)]
UNASSIGNED = [line | {"classification": 1.0, "domain": 0.1, "missed_pairs": 0.0, "missed_spread": 0.0} for line in CAM]
SHARES = {"share_universum": 0.5, "share_fake": 0.3, "share_real": 0.2}
DAWSOL = [line | {"universum": 0.2, "kept": 1.0, "turns": 6.0} | SHARES for line in UNASSIGNED]
GAP, PURITY, TERMS = "Gap between pooled features and pixels", "Purity of the three sets", "Loss terms"
SIZES, KEPT, ITERATIONS = "Sizes of the three sets", "Photos in the domain loss", "K-means iterations"
MISSING = "Missing loss terms"


def captions(watched=None, log=()) -> list[str]:
    config = experiments.load("dawsol_butterflies").train
    return [figure.caption for figure in captioned_figures(watched or {}, log, config)]


def test_figures_without_measurements_are_left_out():
    assert captions({"CAM": []}, CAM) == captions({}) == captioned_figures({}) == []
    assert captions({"CAM": WATCHED}, CAM) == [GAP]
    assert captions({"CAM": [], "DA-WSOL": PURE}, CAM) == [GAP]  # purity of this run alone
    assert captions({"DA-WSOL": [*PURE, *WATCHED]}) == [GAP, PURITY]  # a set without a pixel has no purity
    assert captions(log=UNASSIGNED) == [TERMS]
    assert captions({"DA-WSOL": PURE}, DAWSOL) == [GAP, PURITY, TERMS, SIZES, KEPT, ITERATIONS]
    assert captions(log=[*DAWSOL, DAWSOL[-1] | {"missed_pairs": 7.0}])[-1] == MISSING


def test_the_notes_have_the_numbers_of_the_last_epoch():
    watched = {"DA-WSOL": [*PURE, PURE[0] | {"epoch": 1, "gap_foreground": 0.25, "purity_real": 80.4}], "CAM": WATCHED}
    log = [*DAWSOL, DAWSOL[-1] | {"missed_pairs": 1234.0}]
    config = experiments.load("dawsol_butterflies").train
    notes = {figure.caption: figure.note for figure in captioned_figures(watched, log, config)}
    assert "DA-WSOL 0.25 and 1.50; CAM 1.00 and 1.50" in notes[GAP]
    assert "Universum 8 %, Fake target 41 %, Real target 80 %, All 30 %." in notes[PURITY]
    assert "after epoch 1" in notes[TERMS] and "No term was ever" not in notes[TERMS]
    assert "8 real and 7 fake" in notes[KEPT] and "in the domain loss: 1,234." in notes[MISSING]
    (terms,) = captioned_figures({}, UNASSIGNED, config)
    assert "No term was ever 0" in terms.note and "should fall" in terms.note
    config.dawsol.domain_loss = "dann"
    (terms,) = captioned_figures({}, UNASSIGNED, config)
    assert "should stay near 0.21" in terms.note  # 0.3 ln 2


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    assert read_log(tmp_path / "model", WATCH) == []
    file = tmp_path / "model" / "watch.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps(WATCHED[0]) + '\n{"step": 3, "ep')
    assert read_log(tmp_path / "model", WATCH) == WATCHED
    file.write_text('{"step": 3, "ep\n' + json.dumps(WATCHED[0]) + "\n")
    with pytest.raises(InputError, match=r"model.watch\.jsonl: not lines of JSON; redo"):
        read_log(tmp_path / "model", WATCH)


def test_assignments_are_read_by_row(tmp_path):
    file = tmp_path / "test.assignments.npy"
    assert read_assignments(file, np.arange(2)) is None
    np.save(file, np.arange(3, dtype=np.int8)[:, None, None] * np.ones((1, 4, 4), np.int8))
    assignments = read_assignments(file, np.array([2, 0]))
    assert [assignments(i).tolist() for i in range(2)] == [np.full((4, 4), 2).tolist(), np.zeros((4, 4)).tolist()]


@pytest.mark.parametrize(
    "broken", [b"?", np.zeros((1, 4, 4), np.int8), np.zeros((4, 4), np.int8), np.full((2, 4, 4), 3, np.int8)]
)
def test_damaged_assignments_are_an_error_in_one_line(broken, tmp_path):
    file = tmp_path / "test.assignments.npy"
    if isinstance(broken, bytes):
        file.write_bytes(broken)
    else:
        np.save(file, broken)
    with pytest.raises(InputError, match=r"test\.assignments\.npy.*(redo the stage predict|expected a map)") as error:
        read_assignments(file, np.arange(2))
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of DA-WSOL with measurements every epoch, on lists with boxes and masks, and the data."""
    place = tmp_path_factory.mktemp("domains")
    experiments.write_lists(place / "data")
    run(config(place, stages="train,predict,evaluate"), place / "w")
    return place


@pytest.fixture
def workdirs(finished, tmp_path):
    """Two copies of its workdir; the second one has no assignments, as a run of CAM."""
    ours, cam = (shutil.copytree(finished / "w", tmp_path / name) for name in ("w", "cam"))
    (cam / "predictions" / "test.assignments.npy").unlink()
    (cam / "model" / "watch.jsonl").write_text(json.dumps(WATCHED[0]) + "\n")
    return ours, cam


def config(place, **changes):
    keys = {"data.dir": str(place / "data"), "train.watch": 4, "train.dawsol.samples": 2, "report.photos": 6}
    return experiments.tiny("dawsol_butterflies", **(keys | {"stages": "report"} | changes))


def page(workdir) -> str:
    return (workdir / "report" / "index.html").read_text()


@pytest.mark.long
def test_the_page_of_a_run(finished, workdirs):
    ours, _ = workdirs
    run(config(finished), ours)
    html = page(ours)
    assert "<h1>DA-WSOL: w</h1>" in html
    assert all(f"<figcaption>{caption} <a" in html for caption in (GAP, PURITY, TERMS, SIZES, KEPT, ITERATIONS))
    assert len(pages.tiles(html)) == 3 * experiments.TEST
    assert [tile["title"] for tile in pages.tiles(html) if "title" in tile].count(
        "DA-WSOL, target samples"
    ) == experiments.TEST
    assert [html.count(f'<i class="{name}"') for name in SETS] == [1, 1, 1]


@pytest.mark.long
def test_the_gap_of_a_compared_run(finished, workdirs):
    ours, cam = workdirs
    changes = {"report.beside": f"$<b>CAM&$={cam}"}
    run(config(finished, **changes), ours)
    html = page(ours)
    assert "$&lt;b&gt;CAM&amp;$ 1.00 and 1.50." in html and "<b>CAM" not in html
    figure = html[html.index(GAP) : html.index("</svg>", html.index(GAP))]
    assert "$&lt;b&gt;CAM&amp;$" in figure and ">DA-WSOL<" in figure
    assert len(pages.tiles(html)) == 4 * experiments.TEST and html.count(" target samples") == experiments.TEST
    (cam / "model" / "watch.jsonl").unlink()
    run(config(finished, **changes), ours)  # the page is redone
    assert "$&lt;b&gt;CAM&amp;$ 1.00 and 1.50." not in page(ours)


@pytest.mark.long
def test_the_sets_of_a_compared_run_follow_its_map(finished, workdirs):
    ours, cam = workdirs
    (ours / "predictions" / "test.assignments.npy").unlink()
    run(config(finished, **{"report.beside": f"other={finished / 'w'},CAM={cam}"}), ours)
    html = page(ours)
    (photo,) = [photo for photo in pages.photos(html) if photo["name"].endswith("val/0.jpg")]
    titles = [tile.get("title", "") for tile in photo["tiles"]]
    assert titles == ["", "DA-WSOL", "other", "other, target samples", "CAM"]


def test_damaged_files_of_a_compared_run_are_an_error_before_any_stage_starts(finished, workdirs):
    ours, cam = workdirs
    (cam / "model" / "watch.jsonl").write_text("?\n")
    with pytest.raises(InputError, match=r"--config.report: .*watch\.jsonl: not lines of JSON"):
        run(config(finished, **{"report.beside": f"CAM={cam}"}), ours)
    assert not (ours / "report").exists()


@pytest.mark.parametrize(
    ("method", "use", "name"),
    [
        ("cam", True, "DA-WSOL"),
        ("has", True, "DA-WSOL (HaS)"),
        ("has", False, "HaS"),
    ],
)
def test_the_name_of_the_method(method, use, name):
    config = experiments.tiny("cam_butterflies", **{"train.method": method, "train.dawsol.use": use})
    assert method_name(config.train) == name
