"""Training batches: planned photos and crops, with the boxes in the frame of the crop."""

import numpy as np
import pytest
import tiny

from wsol_jax.data import plan


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment(arch="vgg_gap")


def test_batches_hold_the_boxes_to_learn_in_the_frame_of_the_crop(experiment):
    records, boxes = experiment.dataset.splits["train"], tiny.true_boxes(experiment.dataset)
    sizes = [record.size for record in records]
    views = list(plan.training_views(0, sizes, boxes, "psol", (64, 64), range(8, 24)))
    batches = list(experiment.batches(range(1, 3), tiny.mesh(1)))
    assert np.concatenate([batch.index for batch in batches]).tolist() == [view.index for view in views]
    expected = np.stack([plan.target_box(boxes[v.index], sizes[v.index], v) for v in views])
    np.testing.assert_allclose(np.concatenate([batch.target for batch in batches]), expected, atol=1e-6)


def test_later_steps_do_not_depend_on_the_first_one(experiment):
    whole = list(experiment.batches(range(4), tiny.mesh(1)))
    for batch, same in zip(experiment.batches(range(2, 4), tiny.mesh(1)), whole[2:], strict=True):
        tiny.assert_trees_equal(batch, same)


def test_a_classifier_has_no_boxes_to_learn():
    batch = next(tiny.experiment("classifier", "vgg_gap").batches(range(1), tiny.mesh(1)))
    assert batch.target.shape == (8, 4) and not batch.target.any()


def test_the_whole_photo_without_augmentation():
    batch = next(tiny.experiment(arch="vgg_gap", augment="none").batches(range(1), tiny.mesh(1)))
    assert (batch.window == [0, 0, 1, 1]).all() and not batch.flip.any()
