"""Which stages run, go on, are left alone, are redone, or stop the run."""

import json
import logging
import shutil

import experiments
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.runs import run as runs
from wsol_jax.runs.state import identities
from wsol_jax.stages.table import STAGES
from wsol_jax.training.checkpoints import load_variables
from wsol_jax.training.log import read_log

NO_NETWORK = {"pseudo.source": "truth", "stages": "pseudo_boxes,evaluate,report"}
FOLLOWERS = {  # configuration -> the stages that are made from it
    "pseudo": {"pseudo_boxes", "localizer", "joint", "predict", "maps", "boxes", "objects", "evaluate", "report"},
    "localizer": {"localizer", "predict", "maps", "boxes", "objects", "evaluate", "report"},
    "classifier": {"classifier", "predict", "maps", "boxes", "objects", "evaluate", "report"},
    "joint": {"joint", "predict", "maps", "boxes", "objects", "evaluate", "report"},
    "train": {"train", "predict", "maps", "boxes", "objects", "evaluate", "report"},
    "maps": {"maps", "read_maps", "evaluate", "report"},
    "combine": {"combine"},
    "ablation": set(),
    "predict": {"predict", "maps", "boxes", "objects", "evaluate", "report"},
    "boxes": {"boxes"},
    "objects": {"objects", "evaluate", "report"},
    "evaluate": {"evaluate", "report"},
    "report": {"report"},
    "seed": set(STAGES),
    "stages": set(),
    "overwrite": set(),
    "compilation_cache": set(),
    "data": set(),  # what matters of it is in the records
}

WITHOUT_EFFECT = {"checkpoint_every", "checkpoint_minutes", "log_every"}  # of trainings


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of configs/base.py, run to its end."""
    workdir = tmp_path_factory.mktemp("finished") / "w"
    run(experiments.tiny(), workdir)
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "w")


def written(workdir) -> dict[str, int]:
    """When each file of each stage was written."""
    files = [
        path
        for stage in STAGES.values()
        for out in stage.outputs
        for path in (workdir / out, *(workdir / out).rglob("*"))
    ]
    return {path.relative_to(workdir).as_posix(): path.stat().st_mtime_ns for path in files if path.is_file()}


def redone(workdir, before: dict[str, int]) -> set[str]:
    """The stages any of whose files are not as they were."""
    after = written(workdir)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    outputs = {out: name for name, stage in STAGES.items() for out in stage.outputs}
    return {outputs[name.partition("/")[0]] for name in changed}


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_writes_the_contract(finished):
    classes = ["stripes", "checks", "dots"]
    assert experiments.files(finished) == experiments.contract(["test"], classes, False, ["localizer", "classifier"])
    assert json.loads((finished / "config.json").read_text()) == json.loads(experiments.tiny().to_json())


def test_finished_stages_are_left_alone(workdir):
    before = written(workdir)
    assert run(experiments.tiny(), workdir) == json.loads((workdir / "metrics.json").read_text())
    assert redone(workdir, before) == set()


def test_a_stage_that_was_cut_off_goes_on(workdir, finished, caplog):
    shutil.rmtree(workdir / "localizer" / "checkpoints" / "2")
    identity = workdir / "stages" / "localizer.json"
    identity.write_text(json.dumps(json.loads(identity.read_text()) | {"finished": False}))
    before = written(workdir)
    with caplog.at_level(logging.INFO):
        run(experiments.tiny(), workdir)
    assert "localizer: continuing from step 1 of 2" in caplog.text
    assert redone(workdir, before) == {"localizer"}
    once, twice = (load_variables(place / "localizer" / "checkpoints") for place in (finished, workdir))
    jax.tree.map(np.testing.assert_array_equal, once, twice)
    assert len((workdir / "localizer" / "log.jsonl").read_text().splitlines()) == 2


def test_a_changed_key_stops_the_run_and_overwrite_redoes_what_follows_from_it(workdir):
    before = written(workdir)
    changes = {"localizer.learning_rate": 0.25, "predict.test_geometry": "resize"}
    with pytest.raises(InputError) as error:
        run(experiments.tiny(**changes), workdir)
    assert one_line(error).startswith(f"--workdir={workdir} has results of another configuration: ")
    assert "localizer.learning_rate was 0.001, is 0.25; predict.test_geometry was 'center_crop', is 'resize';" in str(
        error.value
    )
    assert redone(workdir, before) == set()
    run(experiments.tiny(**changes, overwrite=True), workdir)
    assert redone(workdir, before) == {"localizer", "predict", "evaluate", "report"}
    before = written(workdir)
    run(experiments.tiny(**changes), workdir)
    assert redone(workdir, before) == set()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_removal_that_was_cut_off_is_completed_before_the_stage_runs(seed, tmp_path, monkeypatch):
    metrics = run(experiments.tiny(**NO_NETWORK), tmp_path / "w")
    table, rest = (tmp_path / "w" / "pseudo_boxes" / name for name in ("boxes.parquet", "of_seed_0.npz"))
    rest.touch()

    def cut_off(path):
        table.unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("wsol_jax.runs.run.remove", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(experiments.tiny(**NO_NETWORK, seed=1, overwrite=True), tmp_path / "w")
    monkeypatch.undo()
    with pytest.raises(InputError, match="stage evaluate uses pseudo_boxes, which is not finished"):
        run(experiments.tiny(**(NO_NETWORK | {"stages": "evaluate"})), tmp_path / "w")
    again = run(experiments.tiny(**NO_NETWORK, seed=seed, overwrite=seed == 1), tmp_path / "w")
    assert table.exists() and not rest.exists()
    assert (again == metrics) == (seed == 0)
    before = written(tmp_path / "w")
    run(experiments.tiny(**NO_NETWORK, seed=seed), tmp_path / "w")
    assert redone(tmp_path / "w", before) == set()


def test_some_stages(workdir):
    (workdir / "metrics.json").unlink()
    shutil.rmtree(workdir / "predictions")
    before = written(workdir)
    run(experiments.tiny(stages=" evaluate, predict "), workdir)
    assert redone(workdir, before) == {"predict", "evaluate"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_made_from_something_else_stops_the_run(overwrite, workdir):
    before = written(workdir)
    with pytest.raises(InputError) as error:
        run(experiments.tiny(**{"stages": "report", "pseudo.layer": "pool4"}, overwrite=overwrite), workdir)
    advice = "add pseudo_boxes,localizer," if overwrite else "--config.overwrite=True redoes the stages of"
    assert f"pseudo.layer was '', is 'pool4'; {advice}" in one_line(error)
    assert redone(workdir, before) == set()


def test_an_input_that_was_cut_off_stops_the_run(workdir):
    identity = workdir / "stages" / "classifier.json"
    identity.write_text(json.dumps(json.loads(identity.read_text()) | {"finished": False}))
    with pytest.raises(InputError, match=r"stage predict uses classifier, which is not finished in .*--config\.stages"):
        run(experiments.tiny(stages="predict"), workdir)


def test_a_new_input_is_told(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "less")
    shutil.rmtree(tmp_path / "less" / "classifier")
    with pytest.raises(InputError, match="its input classifier is gone"):
        run(experiments.tiny(stages="predict"), tmp_path / "less")


def test_a_file_takes_the_place_of_an_input(workdir, tmp_path):
    records = experiments.scenes().splits["test"]
    boxes = np.concatenate([record.boxes for record in records])
    write_predictions(tmp_path / "boxes.parquet", records, Predictions(box=boxes))
    before = written(workdir)
    changes = {"stages": "predict,evaluate", "overwrite": True, "localizer.epochs": 9.0}
    metrics = run(experiments.tiny(**changes, **{"predict.boxes_from": str(tmp_path / "boxes.parquet")}), workdir)
    assert metrics["gt_known_loc"] == 100
    assert redone(workdir, before) == {"predict", "evaluate"}
    inputs = json.loads((workdir / "stages" / "predict.json").read_text())["inputs"]
    assert list(inputs) == ["classifier", str(tmp_path / "boxes.parquet")]


def test_a_file_whose_content_has_changed_is_told(tmp_path):
    records = experiments.scenes().splits["test"]
    file = tmp_path / "boxes.parquet"
    write_predictions(file, records, Predictions(box=np.concatenate([record.boxes for record in records])))
    config = experiments.tiny(**{"stages": "predict", "predict.boxes_from": str(file)})
    run(config, tmp_path / "w")
    write_predictions(file, records, Predictions(box=np.tile([0.0, 0.0, 1.0, 1.0], (len(records), 1))))
    with pytest.raises(InputError, match=r"its input .*boxes\.parquet is not the same"):
        run(config, tmp_path / "w")


@pytest.mark.parametrize(("name", "needed"), [(n, s.inputs) for n, s in STAGES.items() if s.inputs])
def test_a_stage_without_any_input_says_which_to_run(name, needed, tmp_path):
    with pytest.raises(InputError) as error:
        run(experiments.tiny(stages=name), tmp_path)
    expected = f"stage {name} needs {' or '.join(needed)}, which {tmp_path} does not have; add it to --config.stages"
    assert one_line(error) == expected


def test_no_such_stage(tmp_path):
    for stages in ("predict,evalute", "", ","):
        with pytest.raises(InputError) as error:
            run(experiments.tiny(stages=stages), tmp_path)
        assert one_line(error) == f"--config.stages is {stages!r}; expected some of {','.join(STAGES)}"


def test_results_that_are_no_longer_there_are_made_again(tmp_path):
    run(experiments.tiny(**NO_NETWORK), tmp_path)
    shutil.rmtree(tmp_path / "pseudo_boxes")
    before = written(tmp_path)
    run(experiments.tiny(**NO_NETWORK), tmp_path)
    assert redone(tmp_path, before) == {"pseudo_boxes"}


def test_a_stage_that_failed_at_its_start_made_nothing_that_could_differ(tmp_path):
    wrong = NO_NETWORK | {"pseudo.source": "no.parquet"}
    with pytest.raises(InputError, match=r"no\.parquet"):
        run(experiments.tiny(**wrong), tmp_path)
    assert run(experiments.tiny(**NO_NETWORK), tmp_path)["pseudo/gt_known_loc"] == 100


def test_what_no_run_has_written_is_not_touched(tmp_path):
    (tmp_path / "pseudo_boxes").mkdir()
    (tmp_path / "pseudo_boxes" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="its pseudo_boxes does not belong to a run; use another workdir"):
            run(experiments.tiny(**NO_NETWORK, overwrite=overwrite), tmp_path)
    assert (tmp_path / "pseudo_boxes" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"finished": true}'])
def test_a_damaged_record_of_a_stage(content, tmp_path):
    run(experiments.tiny(**NO_NETWORK), tmp_path)
    (tmp_path / "stages" / "evaluate.json").write_text(content)
    with pytest.raises(InputError, match=r"evaluate\.json is damaged"):
        run(experiments.tiny(**NO_NETWORK), tmp_path)


def test_other_photos_and_another_seed_are_told(tmp_path):
    run(experiments.tiny(**NO_NETWORK), tmp_path)
    with pytest.raises(InputError, match="the test photos are not the same; --config"):
        run(experiments.tiny(**NO_NETWORK, **{"data.scenes.test": 5}), tmp_path)
    with pytest.raises(InputError, match="seed was 0, is 1; the test photos are not the same; the train photos"):
        run(experiments.tiny(**NO_NETWORK, seed=1), tmp_path)


def test_photos_may_move(tmp_path):
    data = {"data.name": "cub", "data.dir": str(tmp_path / "here")}
    experiments.write_cub(tmp_path / "here")
    run(experiments.tiny(**NO_NETWORK, **data), tmp_path / "w")
    before = written(tmp_path / "w")
    (tmp_path / "here").rename(tmp_path / "there")
    run(experiments.tiny(**NO_NETWORK, **(data | {"data.dir": str(tmp_path / "there")})), tmp_path / "w")
    assert redone(tmp_path / "w", before) == set()


def leaves(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    found = {}
    for key, value in config.items():
        nested = isinstance(value, ConfigDict) and len(value)
        found |= leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, ConfigDict):
        return ConfigDict({"x": {"size": 96}})
    more = {str: "x", tuple: (1,)}
    return value + more.get(type(value), 1)


@pytest.mark.parametrize("key", leaves(experiments.tiny()))
def test_a_key_changes_what_is_made_from_it_and_nothing_else(key, tmp_path):
    dataset, config = experiments.scenes(), experiments.tiny()
    before = identities(config, dataset, tmp_path, list(STAGES))
    path, _, name = key.rpartition(".")
    part = config
    for step in path.split(".") if path else []:
        part = part[step]
    part[name] = other(part[name])
    after = identities(config, dataset, tmp_path, list(STAGES))
    changed = {stage for stage in STAGES if before[stage].fingerprint != after[stage].fingerprint}
    no_effect = name in WITHOUT_EFFECT or key in ("predict.batch_size", "pseudo.max_bytes")
    assert changed == (set() if no_effect else FOLLOWERS[key.partition(".")[0]])


def test_keys_without_an_effect_and_those_of_the_page_need_no_overwrite(workdir):
    before = written(workdir)
    changes = {"localizer.log_every": 7, "classifier.checkpoint_minutes": 1.0, "predict.batch_size": 16}
    run(experiments.tiny(**changes), workdir)
    assert redone(workdir, before) == set()
    run(experiments.tiny(**changes, **{"report.photos": 2}), workdir)
    assert redone(workdir, before) == {"report"}


@pytest.mark.long
def test_more_epochs_continue_and_end_as_if_they_had_been_there_from_the_start(workdir, tmp_path):
    longer = {"localizer.epochs": 4 * experiments.BATCH / experiments.TRAIN}
    before = written(workdir)
    run(experiments.tiny(**longer), workdir)
    assert redone(workdir, before) == {"localizer", "predict", "evaluate", "report"}
    assert [line["step"] for line in read_log(workdir / "localizer")] == [1, 2, 3, 4]
    run(experiments.tiny(**longer, stages="pseudo_boxes,localizer"), tmp_path / "at_once")
    logs, states = zip(
        *(
            (read_log(place / "localizer"), load_variables(place / "localizer" / "checkpoints"))
            for place in (workdir, tmp_path / "at_once")
        ),
        strict=True,
    )
    assert logs[0] == logs[1]
    jax.tree.map(np.testing.assert_array_equal, *states)


@pytest.mark.parametrize("during", [True, False])
def test_more_epochs_that_were_cut_off_go_on_by_the_same_command(during, workdir, monkeypatch):
    """During the training, and after it, before what follows from it."""

    def cut_off(*_):
        raise KeyboardInterrupt

    longer = {"localizer.epochs": 4 * experiments.BATCH / experiments.TRAIN}
    before, carry_out = written(workdir), runs._run
    if during:
        monkeypatch.setitem(STAGES, "localizer", STAGES["localizer"]._replace(run=cut_off))
    else:
        monkeypatch.setattr(
            runs, "_run", lambda name, *rest: (cut_off if name == "predict" else carry_out)(name, *rest)
        )
    with pytest.raises(KeyboardInterrupt):
        run(experiments.tiny(**longer), workdir)
    monkeypatch.undo()
    run(experiments.tiny(**longer), workdir)
    assert redone(workdir, before) == {"localizer", "predict", "evaluate", "report"}
    assert [line["step"] for line in read_log(workdir / "localizer")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"localizer.epochs": 0.5}, r"localizer\.epochs was 1\.33\d*, is 0\.5; --config"),
        (
            {"localizer.epochs": 9.0, "localizer.momentum": 0.5},
            r"localizer\.epochs .*; localizer\.momentum was 0.9, is 0.5; -",
        ),
    ],
)
def test_fewer_epochs_and_other_keys_do_not_continue(changes, reason, workdir):
    before = written(workdir)
    with pytest.raises(InputError, match=reason):
        run(experiments.tiny(**changes), workdir)
    assert redone(workdir, before) == set()


def test_a_schedule_that_depends_on_the_epochs_does_not_continue(tmp_path):
    cosine = {"stages": "classifier", "classifier.schedule": "cosine"}
    run(experiments.tiny(**cosine), tmp_path)
    with pytest.raises(InputError) as error:
        run(experiments.tiny(**cosine, **{"classifier.epochs": 2.0}), tmp_path)
    assert "classifier cannot continue: with schedule 'cosine' the rates of its 1.33" in one_line(error)


def test_only_a_configuration_is_run(tmp_path):
    with pytest.raises(InputError, match="the configuration is a dict; expected a ConfigDict"):
        run({"stages": "predict"}, tmp_path)
    config = experiments.tiny().unlock()
    config.localizer.epoch = 3.0
    with pytest.raises(InputError, match=r"--config\.localizer\.epoch: there is no key 'epoch'; expected epochs"):
        run(config, tmp_path)
