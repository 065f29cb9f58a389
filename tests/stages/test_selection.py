"""`train.select`: the network of the best epoch predicts, and test photos never select."""

import experiments
import numpy as np
import pytest
import tiny

from wsol_jax import load, run
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.stages import train
from wsol_jax.stages.context import Context
from wsol_jax.stages.identity import identify
from wsol_jax.stages.selection import check_keys, extends, selecting_records, work
from wsol_jax.tools.convert_weights import convert
from wsol_jax.training.checkpoints import last_step, load_variables
from wsol_jax.training.log import SELECT, read_log


def keys(**changes):
    return experiments.tiny("cam_butterflies", **{f"train.{name}": value for name, value in changes.items()}).train


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, experiments.scenes(), 0, None, {})


def with_val(context):
    splits = context.dataset.splits | {"val": context.dataset.splits["train"][2:4]}
    return context._replace(dataset=context.dataset._replace(splits=splits))


@pytest.mark.long
def test_the_network_of_the_best_epoch_predicts(tmp_path, caplog):
    """Its metric, evaluated as ever, is the largest that was measured during the training."""
    experiments.write_lists(tmp_path / "data")
    changes = {"data.dir": str(tmp_path / "data"), "data.lists.val": "metadata/test", "predict.splits": "val"}
    changes |= {"train.select": "val/pxap", "train.epochs": 3.0, "evaluate.map_size": 224}
    config = experiments.tiny("cam_butterflies", **changes)
    config.stages = "train,predict,evaluate"
    caplog.set_level("INFO")
    metrics = run(config, tmp_path / "w")
    lines = read_log(tmp_path / "w" / "model", SELECT)
    best = max(lines, key=lambda line: line["value"])
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert metrics["val/pxap"] == pytest.approx(best["value"], rel=1e-6)
    assert last_step(tmp_path / "w" / "model" / "best") == best["step"]
    chosen, last = (f"of epoch {line['epoch']:g}, {{}} {line['value']:.2f}" for line in (best, lines[-1]))
    text = f"predict: model: the network {chosen.format('with')}; the last one, {last.format('has')}"
    assert caplog.text.count(text) == 1
    ready = load(tmp_path / "w").networks["maps"]
    tiny.assert_trees_equal(ready.variables, load_variables(tmp_path / "w" / "model" / "best"))
    source = str(tmp_path / "w" / "model")
    origin = convert(source, tmp_path / "converted.safetensors", config.train.arch).origin
    assert origin == f"the best checkpoint of {source}"


def test_pseudo_boxes_select_by_validation_photos_or_else_training_photos(context):
    train, test = (context.dataset.splits[split] for split in ("train", "test"))
    everything, table = [*train, *test], context.workdir / "p.parquet"
    box = np.random.default_rng(0).uniform(0, 0.5, (len(everything), 4)) + np.array([0, 0, 0.5, 0.5])
    write_predictions(table, everything, Predictions(box))
    config = keys(select="pseudo/max_box_acc", pseudo_from=str(table), epochs=2.5)
    check_keys(config)
    for rows, surroundings in ((slice(len(train)), context), (slice(2, 4), with_val(context))):
        chosen = selecting_records(config, surroundings)
        assert [record.path for record in chosen] == [record.path for record in everything[rows]]
        np.testing.assert_allclose(np.concatenate([record.boxes for record in chosen]), box[rows])
        (estimate,) = work(config, surroundings)
        batches = 3 * -(-len(chosen) // config.batch_size)
        assert (estimate.photos, estimate.batches, estimate.done) == (3 * len(chosen), batches, 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(select="test/pxap"), "select is 'test/pxap'; expected one of last, val/max_box_acc"),
        (dict(select="val/loss"), "select is 'val/loss'; expected one of"),
        (dict(select="pseudo/pxap"), "select is 'pseudo/pxap'; expected one of"),
        (dict(select="pseudo/max_box_acc"), "and pseudo_from is ''; expected 'pseudo/NAME' with the workdir"),
        (dict(pseudo_from="w"), "select is 'last' and pseudo_from is 'w'; expected"),
    ],
)
def test_what_is_never_valid_is_an_error_in_one_line(changes, message):
    with pytest.raises(InputError, match=message):
        check_keys(keys(**changes))


def test_photos_that_cannot_select_are_an_error_in_one_line(context):
    assert selecting_records(keys(), context) == [] == work(keys(), context)
    with pytest.raises(InputError, match="select is 'val/pxap', but there are no validation photos; expected a split"):
        selecting_records(keys(select="val/pxap"), context)
    unmasked = [record._replace(masks=()) for record in context.dataset.splits["test"]]
    splits = context.dataset.splits | {"val": unmasked}
    only_boxes = context._replace(dataset=context.dataset._replace(splits=splits))
    assert selecting_records(keys(select="val/max_box_acc"), only_boxes) == unmasked
    with pytest.raises(InputError, match="no validation photo has a mask; expected some"):
        selecting_records(keys(select="val/pxap"), only_boxes)
    with pytest.raises(InputError, match=r"^pseudo_from: .*has no finished pseudo_boxes"):
        selecting_records(keys(select="pseudo/max_box_acc", pseudo_from=str(context.workdir)), context)


def test_a_training_that_ended_within_an_epoch_does_not_continue(context):
    def effective(**changes):
        return identify(keys(**changes), 0, {}, {}, train.STAGE.without_effect, train.STAGE.neutral).config

    for select, epochs, expected in (
        ("last", 1.5, ""),
        ("val/pxap", 1.5, "in the middle of one"),
        ("val/pxap", 2.0, ""),
    ):
        was, now = (effective(select=select, epochs=number) for number in (epochs, 3.0))
        reason = extends(was, now, context)
        assert expected in reason and bool(reason) == bool(expected)


def test_the_last_network_has_the_fingerprint_of_versions_without_the_key():
    older = keys().copy_and_resolve_references().unlock()
    del older.select, older.pseudo_from, older.cam
    fingerprint = identify(older, 0, {}, {}, train.STAGE.without_effect).fingerprint
    for config, is_same in ((keys(), True), (keys(select="val/pxap"), False)):
        now = identify(config, 0, {}, {}, train.STAGE.without_effect, train.STAGE.neutral)
        assert (now.fingerprint == fingerprint) == is_same
