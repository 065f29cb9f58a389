"""The removal of kept features at the end of a training, cut off at each of its files."""

from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from wsol_jax.stages.context import Context
from wsol_jax.stages.feature_training import train_on_features
from wsol_jax.stages.workdir import features_file
from wsol_jax.training.kept_features import keep_features


def means(image):
    """Features [b, 1, 1, 3] of images."""
    return image.mean((1, 2), keepdims=True)


def cut_off(image):
    """The same, of a run that is killed in its first batch."""
    if not isinstance(image, jax.core.Tracer):
        raise KeyboardInterrupt
    return means(image)


def keep(context, compute):
    file, records = features_file(context.workdir, "localizer"), context.dataset.splits["train"]
    keys = dict(views=1, size=tiny.SIZE, batch_size=8, seed=0, mesh=context.mesh)
    return np.array(keep_features(file, compute, context.dataset.read, records, **keys).features)


@pytest.mark.parametrize("removed", [0, 1])
def test_features_whose_removal_was_cut_off_are_computed_again(removed, tmp_path, monkeypatch):
    context, left, unlink = Context(tmp_path, tiny.scenes(), 0, tiny.mesh(1), {}), [None] * removed, Path.unlink
    features = keep(context, means)

    def unlink_some(path, missing_ok=False):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_some)
    with pytest.raises(KeyboardInterrupt):  # without a step to do, a training ends at once
        train_on_features("localizer", None, None, None, (), np.empty(0), tiny.get_config().localizer, context)
    monkeypatch.undo()
    if removed:
        with pytest.raises(KeyboardInterrupt):
            keep(context, cut_off)
    np.testing.assert_array_equal(keep(context, means), features)
