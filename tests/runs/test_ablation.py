"""An ablation: its rows, each a run that is cut off and goes on, their table, and what is told before the first."""

import json
import logging

import experiments
import numpy as np
import pyarrow.parquet as pq
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.runs import run as stages
from wsol_jax.runs.ablation import METRICS, rows

COSTS = ("train_ms", "train_ratio", "test_ms", "test_ratio")
SMALL = {"train.dawsol.samples": 4, "ablation.turns": 2, "ablation.losses": ""}  # 16 cells; two rows


class CutOff(logging.Handler):
    """Ctrl-C when a line of the log comes for the second time."""

    def __init__(self, line: str):
        super().__init__()
        self.line, self.seen = line, 0

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += record.getMessage() == self.line
        if self.seen == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    experiments.write_lists(folder)
    return folder


def tiny(data, **changes):
    return experiments.tiny("dawsol_ablation", **(SMALL | {"data.dir": str(data)} | changes))


def tables(workdir):
    return pq.read_table(workdir / "table.parquet").to_pylist(), (workdir / "table.md").read_text()


def test_a_row_changes_the_parts_of_the_loss_and_nothing_else():
    config = experiments.load("dawsol_ablation", **{"train.method": "has", "train.dawsol.anchor_offset": 0.5})
    found = rows(config)
    order = ["has", "mmd_plain", "dann_plain", "mmd_tsa", "dann_tsa", "universum", "mmd", "dann"]
    assert list(found) == order
    for row in found.values():
        ours, base = row.config.to_dict(), config.to_dict()
        assert ours.pop("stages") == "train,predict,evaluate" and base.pop("stages") == "ablation"
        keys, others = ours["train"].pop("dawsol"), base["train"].pop("dawsol")
        assert ours == base
        changed = {"use", "assigner", "domain_loss", "domain_weight", "universum_weight"}
        assert {key for key in keys if keys[key] != others[key]} <= changed
    shown = ("use", "assigner", "domain_loss", "domain_weight", "universum_weight")
    values = {name: tuple(row.config.train.dawsol[key] for key in shown) for name, row in found.items()}
    assert not values.pop("has")[0]
    assert values == {
        "mmd_plain": (True, False, "mmd_quadratic", 0.3, 0),
        "dann_plain": (True, False, "dann", 0.3, 0),
        "mmd_tsa": (True, True, "mmd_linear", 0.3, 0),
        "dann_tsa": (True, True, "dann", 0.3, 0),
        "universum": (True, True, "mmd_linear", 0, 2),
        "mmd": (True, True, "mmd_linear", 0.3, 2),
        "dann": (True, True, "dann", 0.3, 2),
    }


@pytest.mark.long
def test_it_is_cut_off_and_goes_on(data, tmp_path):
    handler = CutOff("train: started")
    logging.getLogger("absl").addHandler(handler)
    logging.getLogger("absl").setLevel(logging.INFO)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tiny(data), tmp_path)
    finally:
        logging.getLogger("absl").removeHandler(handler)
    (row,), text = tables(tmp_path)
    of_cam = json.loads((tmp_path / "cam" / "metrics.json").read_text())
    assert row == {"row": "cam", "losses": "L_c"} | {name: of_cam[name] for name in METRICS}
    assert "4 pixels of each photo drawn uniformly" in text and "Milliseconds" not in text

    def written():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "cam" / "model").rglob("*") if path.is_file()}

    before = written()
    told = run(tiny(data), tmp_path)
    assert written() == before
    found, text = tables(tmp_path)
    assert [row["row"] for row in found] == ["cam", "universum"]
    for row in found:
        metrics = json.loads((tmp_path / row["row"] / "metrics.json").read_text())
        assert {name: row[name] for name in METRICS} == {name: metrics[name] for name in METRICS}
        assert told[f"{row['row']}/piou"] == metrics["piou"]
        assert all(np.isfinite(row[name]) and row[name] > 0 for name in COSTS)
    assert found[0]["train_ratio"] == found[0]["test_ratio"] == 1
    lines = text.splitlines()
    assert lines[0] == f"| row | losses | {' | '.join(METRICS + COSTS)} |"
    assert lines[2].startswith("| cam | L_c | ") and lines[3].startswith("| universum | L_c + L_u + TSA | ")
    assert "medians of 2 training steps of 8 photos and as many predictions of 8" in lines[-1]

    config = rows(tiny(data))["universum"].config
    assert stages.plan(config, tmp_path / "universum").to_do == []  # an ordinary run, to which nothing is left to do


WRONG = {
    "no such loss": ({"ablation.losses": "mmd,mdm"}, r"--config\.ablation\.losses is 'mmd,mdm'; expected some of mmd,"),
    "no turns": ({"ablation.turns": 0}, r"--config\.ablation\.turns is 0; expected a positive number"),
    "no photos": ({"data.dir": "nowhere"}, r"--config\.data\.dir: there is no folder nowhere"),
    "no weights": ({"train.weights": "no.npz"}, r"--config\.train: no\.npz: no such weight file"),
    "of some rows": ({"train.dawsol.samples": 9}, r"dawsol\.samples is 9; expected 2 to 8: .* 16 pixels"),
    "of one classifier": ({"train.method": "acol"}, "dawsol.use needs a method with one classifier"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_any_row_is_told_before_the_first(case, data, tmp_path):
    changes, message = WRONG[case]
    with pytest.raises(InputError, match=message) as error:
        run(tiny(data, **changes), tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("model")) and not (tmp_path / "table.md").exists()


def test_a_row_of_something_else_is_told_before_the_first(data, tmp_path):
    config = rows(tiny(data))["universum"].config
    config.train.learning_rate, config.stages = 0.5, "train"
    run(config, tmp_path / "universum")
    with pytest.raises(
        InputError, match=r"universum has results of another configuration: train\.learning_rate was 0\.5"
    ):
        run(tiny(data), tmp_path)
    assert not list((tmp_path / "cam").rglob("model"))
