"""Mirror averaging: both boxes return to the photo before they are averaged."""

import jax
import numpy as np
import pytest
import tiny

from wsol_jax import boxes
from wsol_jax.methods.mirrored import mirrored


@pytest.fixture(scope="module")
def predicted():
    """The predictions for a batch, for its mirror images, and the averaged ones for both."""
    experiment = tiny.experiment("localizer", "vgg_gap")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    turned = batch._replace(image=batch.image[:, :, ::-1], flip=~batch.flip)
    both = jax.jit(mirrored(experiment.method).predict)
    plain = jax.jit(experiment.method.predict)
    return [f(experiment.variables, b, None) for f in (plain, both) for b in (batch, turned)]


def test_the_box_is_the_mean_of_both(predicted):
    one, other, averaged, _ = predicted
    np.testing.assert_allclose(averaged.box, (one.box + other.box) / 2, atol=1e-6)
    np.testing.assert_allclose(averaged.mirror_iou, boxes.iou(one.box, other.box), atol=1e-5)


def test_a_photo_and_its_mirror_image_have_the_same_averaged_box(predicted):
    *_, of_photo, of_mirror = predicted
    np.testing.assert_allclose(of_photo.box, of_mirror.box, atol=1e-6)
