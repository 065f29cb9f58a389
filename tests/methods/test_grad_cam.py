"""Grad-CAM: CAM where the network allows CAM, and any stage of any network."""

import jax
import numpy as np
import pytest
import tiny

from wsol_jax.errors import InputError
from wsol_jax.methods.grad_cam import heat_maps


def with_stage(stage: str, arch: str = "resnet50", **changes):
    keys = tiny.config("train", arch, method="grad_cam", **changes)
    with keys.unlocked():
        keys.grad_cam.stage = stage
    return tiny.experiment("train", arch, method="grad_cam", grad_cam=keys.grad_cam, **changes)


def test_at_the_last_map_it_is_the_positive_part_of_cam():
    own, plain = with_stage(""), tiny.experiment("train", method="cam")
    batch = next(own.batches(range(1), tiny.mesh(1)))
    prediction = own.method.predict(own.variables, batch, batch.label)
    expected = plain.method.predict(own.variables, batch, batch.label)
    cells = prediction.map[0].size
    np.testing.assert_allclose(prediction.map * cells, np.maximum(expected.map, 0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(prediction.logits, expected.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch, stage", [("resnet50", "layer2"), ("vgg_gap", "relu4_1"), ("efficientnet_lite0", "")])
def test_any_stage_of_any_network_one_photo_at_a_time_or_many(arch, stage):
    experiment = with_stage(stage, arch, freeze="", arch_kwargs=tiny.NARROW[arch])
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    predict = jax.jit(experiment.method.predict)
    together = predict(experiment.variables, batch, None).map
    assert together.min() >= 0 and together.max() > 0
    alone = [
        predict(experiment.variables, type(batch)(*(field[i : i + 1] for field in batch)), None).map for i in range(3)
    ]
    np.testing.assert_allclose(np.concatenate(alone), together[:3], rtol=1e-3, atol=1e-5)


def test_frozen_stages_have_maps_too():
    experiment = with_stage("layer1", freeze="layer3")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    assert experiment.method.predict(experiment.variables, batch).map.max() > 0


def test_the_weights_are_the_mean_gradient():
    experiment = tiny.experiment("classifier", "vgg_gap")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables
    image = method.prepare(batch.image)
    _, heat = heat_maps(method, variables, image, "pool5", batch.label)
    outputs, _ = method.network(variables, image, None, None, False)
    features, kernel = (
        np.asarray(outputs.stages["pool5"]),
        np.asarray(variables["params"]["head"]["classifier"]["kernel"]),
    )
    weights = kernel.T[np.asarray(batch.label)] / features[0, :, :, 0].size
    np.testing.assert_allclose(heat, np.maximum((features * weights[:, None, None]).sum(-1), 0), rtol=1e-3, atol=1e-6)


def test_no_such_stage():
    with pytest.raises(InputError, match=r"grad_cam\.stage is 'layer9'; expected one of conv1, layer1"):
        with_stage("layer9")
