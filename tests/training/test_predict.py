"""Predictions for every photo once, in the order of the records, for any size of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from wsol_jax import devices, processes
from wsol_jax.data import plan
from wsol_jax.data.drawing import cut
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.training import predict
from wsol_jax.training.predict import predict_photos

WINDOW = plan.test_window("center_crop", 224 / 256)


def predicted(experiment, records, batch_size, devices_used=1, **changes):
    return predict_photos(
        experiment.method,
        experiment.variables,
        experiment.dataset,
        records,
        window=WINDOW,
        size=tiny.SIZE,
        batch_size=batch_size,
        name="test",
        mesh=tiny.mesh(devices_used),
        **changes,
    )


@pytest.fixture(scope="module", params=["localizer", "classifier"])
def experiment(request):
    return tiny.experiment(request.param, "vgg_gap")


@pytest.fixture(scope="module")
def expected(experiment):
    """Of the ten test photos, cut and predicted by hand."""
    records = experiment.dataset.splits["test"]
    images = np.stack([cut(experiment.dataset.read(record), WINDOW, tiny.SIZE) for record in records])
    n = np.arange(len(records))
    batch = Batch(images, np.tile(WINDOW, (len(n), 1)), n < 0, n * 0, np.zeros((len(n), 4)), n, n >= 0)
    return jax.tree.map(np.asarray, jax.jit(experiment.method.predict)(experiment.variables, batch))


@pytest.mark.parametrize("batch_size, devices_used", [(4, 1), (10, 1), (8, 8), (16, 2)])
def test_every_photo_once_and_in_order(experiment, expected, batch_size, devices_used):
    predictions = predicted(experiment, experiment.dataset.splits["test"], batch_size, devices_used)
    assert jax.tree.structure(predictions) == jax.tree.structure(expected)
    for array, wanted in zip(jax.tree.leaves(predictions), jax.tree.leaves(expected), strict=True):
        assert isinstance(array, np.ndarray) and len(array) == 10 and len(np.unique(array, axis=0)) == 10
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-5)


def test_predictions_follow_their_records(experiment, expected):
    order = [7, 2, 9, 9, 0]
    predictions = predicted(experiment, [experiment.dataset.splits["test"][i] for i in order], 4)
    for array, wanted in zip(jax.tree.leaves(predictions), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(array, wanted[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_stops_at_once_with_photo_and_network(value, experiment):
    def predict(variables, batch, label):
        prediction = experiment.method.predict(variables, batch, label)
        return jax.tree.map(
            lambda array: array.at[:, 0].set(jnp.where(batch.index == 5, value, array[:, 0])), prediction
        )

    broken = experiment._replace(method=experiment.method._replace(predict=predict))
    records = experiment.dataset.splits["test"]
    with pytest.raises(InputError, match=f"^test: the (box|logits) of {records[5].path} is NaN or infinite; expected"):
        predicted(broken, records, 4)


def test_the_devices_have_work_while_results_come_back(experiment, monkeypatch):
    """Two more batches are begun, with the transfers of their results, before the first one's results are fetched."""
    order = []
    begin, gather, fetch = predict.predict_batch, devices.gather, devices.require_order

    def noted_begin(*arguments):
        order.append("begin")
        return begin(*arguments)

    def noted_gather(*arguments):
        order.append("gather")
        return gather(*arguments)

    def noted_fetch(*arguments):
        order.append("fetch")
        fetch(*arguments)

    monkeypatch.setattr(predict, "predict_batch", noted_begin)
    monkeypatch.setattr(devices, "gather", noted_gather)
    monkeypatch.setattr(devices, "require_order", noted_fetch)
    predicted(experiment, experiment.dataset.splits["test"], 2)
    begun = ["begin", "gather"]
    assert order == begun * 3 + ["fetch", *begun] * 2 + ["fetch"] * 3


def test_another_process_than_the_first_keeps_nothing(experiment, monkeypatch):
    kept = []
    monkeypatch.setattr(predict, "scratch", lambda *arguments: kept.append(arguments))
    monkeypatch.setattr(processes, "is_first", lambda: False)
    assert predicted(experiment, experiment.dataset.splits["test"], 4) is None
    assert kept == []
