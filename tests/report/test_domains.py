"""What the page says of domain adaption: of a real run, of somebody's files, and of files that are broken."""

import json
import re
import shutil

import experiments
import numpy as np
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report.domains import drawings
from wsol_jax.stages.map_runs import method_name, read_assignments
from wsol_jax.training.log import WATCH, read_log

pytestmark = pytest.mark.usefixtures("compile_quickly")

WATCHED = [{"step": 0, "epoch": 0, "foreground": 30.0, "gap_foreground": 1.0, "gap_background": 1.5}]
PURE = [WATCHED[0] | {"purity_universum": 8.0, "purity_fake": 41.0, "purity_real": 77.0}]
CAM = [{"step": step, "loss": 1.0, "accuracy": 0.5} for step in (10, 20)]
UNASSIGNED = [line | {"classification": 1.0, "domain": 0.1, "missed_pairs": 0.0, "missed_spread": 0.0} for line in CAM]
SHARES = {"share_universum": 0.5, "share_fake": 0.3, "share_real": 0.2}
DAWSOL = [line | {"universum": 0.2, "kept": 1.0, "turns": 6.0} | SHARES for line in UNASSIGNED]
GAP, PURITY, TERMS = "How far pixels are from pooled features", "How pure the three sets are", "Terms of the loss"
SIZES, KEPT, TURNS = "How large the three sets are", "Photos in the domain loss", "Turns of K-means"
MISSING = "Terms that were missing"


def captions(watched=None, log=()) -> list[str]:
    return [drawing.caption for drawing in drawings(watched or {}, log, experiments.load("dawsol_butterflies").train)]


def test_what_is_known_is_drawn():
    assert captions({"CAM": []}, CAM) == captions({}) == drawings({}) == []
    assert captions({"CAM": WATCHED}, CAM) == [GAP]
    assert captions({"CAM": [], "DA-WSOL": PURE}, CAM) == [GAP]  # purity is told of ours alone
    assert captions({"DA-WSOL": [*PURE, *WATCHED]}) == [GAP, PURITY]  # a set without a pixel has no purity
    assert captions(log=UNASSIGNED) == [TERMS]
    assert captions({"DA-WSOL": PURE}, DAWSOL) == [GAP, PURITY, TERMS, SIZES, KEPT, TURNS]
    assert captions(log=[*DAWSOL, DAWSOL[-1] | {"missed_pairs": 7.0}])[-1] == MISSING


def test_the_numbers_at_the_end_are_told():
    watched = {"DA-WSOL": [*PURE, PURE[0] | {"epoch": 1, "gap_foreground": 0.25, "purity_real": 80.4}], "CAM": WATCHED}
    log = [*DAWSOL, DAWSOL[-1] | {"missed_pairs": 1234.0}]
    notes = {d.caption: d.note for d in drawings(watched, log, experiments.load("dawsol_butterflies").train)}
    assert "DA-WSOL 0.25 and 1.50; CAM 1.00 and 1.50" in notes[GAP]
    assert "Universum 8 %, Fake target 41 %, Real target 80 %, All 30 %." in notes[PURITY]
    assert "after epoch 1" in notes[TERMS] and "None was ever" not in notes[TERMS]
    assert "8 real and 7 fake" in notes[KEPT] and "adapt: 1,234." in notes[MISSING]
    config = experiments.load("dawsol_butterflies").train
    (terms,) = drawings({}, UNASSIGNED, config)
    assert "None was ever 0" in terms.note and "should fall" in terms.note
    config.dawsol.domain_loss = "dann"
    (terms,) = drawings({}, UNASSIGNED, config)
    assert "should stay near 0.21" in terms.note  # 0.3 ln 2


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    assert read_log(tmp_path / "model", WATCH) == []
    file = tmp_path / "model" / "watch.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps(WATCHED[0]) + '\n{"step": 3, "ep')
    assert read_log(tmp_path / "model", WATCH) == WATCHED
    file.write_text('{"step": 3, "ep\n' + json.dumps(WATCHED[0]) + "\n")
    with pytest.raises(InputError, match=r"model.watch\.jsonl: not lines of JSON with a step each; redo"):
        read_log(tmp_path / "model", WATCH)


def test_assignments_are_found_by_row(tmp_path):
    file = tmp_path / "test.assignments.npy"
    assert read_assignments(file, np.arange(2)) is None
    np.save(file, np.arange(3, dtype=np.int8)[:, None, None] * np.ones((1, 4, 4), np.int8))
    found = read_assignments(file, np.array([2, 0]))
    assert [found(i).tolist() for i in range(2)] == [np.full((4, 4), 2).tolist(), np.zeros((4, 4)).tolist()]


@pytest.mark.parametrize(
    "broken", [b"?", np.zeros((1, 4, 4), np.int8), np.zeros((4, 4), np.int8), np.full((2, 4, 4), 3, np.int8)]
)
def test_broken_assignments_are_told_in_one_line(broken, tmp_path):
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
    """A watched run of DA-WSOL on lists with boxes and masks, and the data."""
    place = tmp_path_factory.mktemp("domains")
    experiments.write_lists(place / "data")
    run(config(place, stages="train,predict,evaluate"), place / "w")
    return place


@pytest.fixture
def workdirs(finished, tmp_path):
    """Copies of its workdir: of itself, and of one that is told to be of CAM."""
    ours, cam = (shutil.copytree(finished / "w", tmp_path / name) for name in ("w", "cam"))
    (cam / "predictions" / "test.assignments.npy").unlink()
    (cam / "model" / "watch.jsonl").write_text(json.dumps(WATCHED[0]) + "\n")
    return ours, cam


def config(place, **changes):
    keys = {"data.dir": str(place / "data"), "train.watch": 4, "train.dawsol.samples": 2, "report.photos": 6}
    return experiments.tiny("dawsol_butterflies", **(keys | {"stages": "report"} | changes))


def page(workdir) -> str:
    return (workdir / "report" / "index.html").read_text()


def test_the_page_of_a_run(finished, workdirs):
    ours, _ = workdirs
    run(config(finished), ours)
    html = page(ours)
    assert "<h1>DA-WSOL: w</h1>" in html
    assert all(f"<figcaption>{caption}</figcaption>" in html for caption in (GAP, PURITY, TERMS, SIZES, KEPT, TURNS))
    assert html.count('role="img"') == 3 * experiments.TEST
    assert html.count("<b>DA-WSOL, target samples</b>") == experiments.TEST
    assert [html.count(f'<i class="{name}"') for name in SETS] == [1, 1, 1]


def test_another_gap_stands_beside_ours(finished, workdirs):
    ours, cam = workdirs
    changes = {"report.beside": f"$<b>CAM&$={cam}"}
    run(config(finished, **changes), ours)
    html = page(ours)
    assert "$&lt;b&gt;CAM&amp;$ 1.00 and 1.50." in html and "<b>CAM" not in html
    figure = html[html.index(GAP) : html.index("</svg>", html.index(GAP))]
    assert "$&lt;b&gt;CAM&amp;$" in figure and ">DA-WSOL<" in figure
    assert html.count('role="img"') == 4 * experiments.TEST and html.count("target samples</b>") == experiments.TEST
    (cam / "model" / "watch.jsonl").unlink()
    with pytest.raises(InputError, match=r"its input .*watch\.jsonl is gone"):
        run(config(finished, **changes), ours)


def test_the_sets_of_another_run_stand_beside_its_map(finished, workdirs):
    ours, cam = workdirs
    (ours / "predictions" / "test.assignments.npy").unlink()
    run(config(finished, **{"report.beside": f"other={finished / 'w'},CAM={cam}"}), ours)
    html = page(ours)
    pictures = re.findall(r'aria-label="[^"]*val/0\.jpg([^"]*)"', html)
    assert pictures == ["", ", DA-WSOL", ", other", ", other, target samples", ", CAM"]


def test_broken_files_beside_are_told_before_anything_begins(finished, workdirs):
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
def test_its_name(method, use, name):
    config = experiments.tiny("cam_butterflies", **{"train.method": method, "train.dawsol.use": use})
    assert method_name(config.train) == name
