"""HaS: whole cells are hidden, other ones in each photo, at the given rate."""

import jax
import numpy as np
import pytest
import tiny

from wsol_jax.methods.has import hide


@pytest.mark.parametrize("side, cell", [(12, 4), (10, 4), (7, 16)])
def test_whole_cells_are_hidden(side, cell):
    image = np.ones((6, side, side, 3), np.float32)
    hidden = np.asarray(hide(jax.random.key(0), image, cell, 0.5))
    assert hidden.shape == image.shape
    for top in range(0, side, cell):
        for left in range(0, side, cell):
            part = hidden[:, top : top + cell, left : left + cell]
            assert (part == part[:, :1, :1, :1]).all()
    assert len({photo.tobytes() for photo in hidden}) > 1


@pytest.mark.parametrize("rate", [0.0, 0.19, 0.5, 1.0])
def test_cells_are_hidden_at_the_given_rate(rate):
    hidden = hide(jax.random.key(0), np.ones((8, 64, 64, 3), np.float32), 4, rate)
    assert abs(float((hidden == 0).mean()) - rate) < 0.03


def test_only_training_hides():
    experiment = tiny.experiment("train", method="has")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables
    image, ((label, weight),) = method.perturb(jax.random.key(0), method.prepare(batch.image), batch.label)
    assert (np.asarray(image) == 0).mean() > 0.4 and (label == batch.label).all() and weight == 1
    plain = tiny.experiment("train", method="cam").method
    for own, other in zip(method.predict(variables, batch), plain.predict(variables, batch), strict=True):
        assert own is other is None or np.array_equal(own, other)
