"""Ten crops: torchvision's, and the mean of their softmax."""

import jax
import numpy as np
import tiny
from scipy.special import log_softmax, softmax

from wsol_jax.methods.ten_crop import crops, ten_crop


def test_the_crops_are_torchvisions():
    image = np.arange(7 * 8).reshape(1, 7, 8, 1)
    results = [np.asarray(crop)[0, :, :, 0] for crop in crops(image, 5)]
    photo = image[0, :, :, 0]
    corners = [photo[:5, :5], photo[:5, 3:], photo[2:, :5], photo[2:, 3:], photo[1:6, 2:7]]  # round(1.5) is 2
    flipped = photo[:, ::-1]
    mirrored = [flipped[:5, :5], flipped[:5, 3:], flipped[2:, :5], flipped[2:, 3:], flipped[1:6, 2:7]]
    for crop, expected in zip(results, corners + mirrored, strict=True):
        np.testing.assert_array_equal(crop, expected)


def test_the_softmax_of_the_crops_is_averaged():
    experiment = tiny.experiment("classifier", "vgg_gap", size=48)
    batch = next(tiny.experiment("classifier", "vgg_gap").batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables
    prediction = jax.jit(ten_crop(method, 48).predict)(variables, batch)
    each = [method.predict(variables, batch._replace(image=crop)).logits for crop in crops(batch.image, 48)]
    np.testing.assert_allclose(prediction.logits, np.log(np.mean(softmax(np.array(each), -1), 0)), rtol=1e-4, atol=1e-5)
    assert prediction.box is None
    assert not np.allclose(prediction.logits, log_softmax(np.asarray(each[4]), -1), atol=1e-5)
