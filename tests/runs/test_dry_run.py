"""A dry run tells the cost of every loop and writes nothing."""

import re

import experiments
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.runs.dry_run import dry_run
from wsol_jax.stages.work import Work

TRUTH = {"stages": "pseudo_boxes,localizer,predict,evaluate", "pseudo.source": "truth"}
LARGE = {"localizer.epochs": 80 * experiments.BATCH / experiments.TRAIN}


def test_every_loop_with_its_size_memory_and_time(tmp_path):
    table = dry_run(experiments.tiny(**TRUTH, **LARGE), tmp_path / "w")
    rows = {line.split("  ")[0]: line for line in table.splitlines()}
    assert re.search(r"  640 +80 +0:\d\d:\d\d \(\d+\.\d/s\)  parameters \d+\.\d MB, optimiser", rows["localizer"])
    assert re.search(r"  6 +1 +0:\d\d:\d\d ", rows["predict: localizer"])
    for name in ("pseudo_boxes", "evaluate"):
        assert rows[name].endswith("not measured")
    assert re.match(r"about 0:\d\d:\d\d on 8 x cpu.*; nothing was written$", table.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_finished_stages_cost_nothing(tmp_path):
    config = experiments.tiny(**{"stages": "pseudo_boxes,evaluate", "pseudo.source": "truth"})
    run(config, tmp_path / "w")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    lines = dry_run(config, tmp_path / "w").splitlines()
    assert [line.split() for line in lines[1:3]] == [["pseudo_boxes", "finished"], ["evaluate", "finished"]]
    assert lines[3].startswith("about 0:00:00 ")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_mistake_is_one_line(tmp_path):
    with pytest.raises(InputError, match="stage predict needs localizer or"):
        dry_run(experiments.tiny(stages="predict"), tmp_path / "w")


def test_an_estimate_is_the_first_batch_and_the_rest_at_the_rate_of_the_next_ones(monkeypatch):
    now = [0.0]

    def attempt():
        for seconds in (100.0, 2.0, 2.0, 2.0, 1000.0):
            now[0] += seconds
            yield

    monkeypatch.setattr("wsol_jax.runs.dry_run.time.perf_counter", lambda: now[0])
    from wsol_jax.runs.dry_run import estimate

    assert estimate(Work("", 80, 10, 0, {}, attempt)) == (118.0, 4.0)
    now[0] = 0.0
    assert estimate(Work("", 80, 10, 4, {}, attempt)) == (110.0, 4.0)
    assert estimate(Work("", 80, 10, 10, {}, attempt)) == (0.0, 0.0)
