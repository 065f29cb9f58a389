"""CAM: the loss of a classifier, the map of a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.method import total_loss

ARCHS = {
    "resnet50": dict(stride=16),
    "vgg_gap": dict(stride=16, conv6=12),
    "inception_v3": dict(stride=16),
}


@pytest.fixture(scope="module", params=small.first_alone(ARCHS))
def experiment(request):
    kwargs = tiny.NARROW[request.param] | ARCHS[request.param]
    return tiny.experiment("train", request.param, method="cam", arch_kwargs=kwargs)


@pytest.fixture(scope="module")
def batch(experiment):
    return next(experiment.batches(range(1), tiny.mesh(1)))


def test_the_mean_of_the_map_goes_with_the_logit(experiment, batch):
    method, variables = experiment.method, experiment.variables
    prediction = method.predict(variables, batch, batch.label)
    assert prediction.map.shape == (8, 4, 4) and prediction.logits.shape == (8, tiny.CLASSES)
    (head,) = variables["params"]["head"].values()
    expected = (
        np.take_along_axis(np.asarray(prediction.logits), batch.label[:, None], 1)[:, 0] - head["bias"][batch.label]
    )
    np.testing.assert_allclose(prediction.map.mean((1, 2)), expected, rtol=1e-3, atol=1e-5)


def test_without_a_label_it_is_the_map_of_the_most_probable_class(experiment, batch):
    method, variables = experiment.method, experiment.variables
    probable = np.asarray(method.predict(variables, batch).logits).argmax(-1)
    np.testing.assert_array_equal(method.predict(variables, batch).map, method.predict(variables, batch, probable).map)


def test_every_layer_learns(experiment, batch):
    def run(params):
        state = experiment.variables | {"params": params}
        return total_loss(experiment.method, state, batch, (), jax.random.key(0), jnp.zeros(()))[0]

    gradient = flatten_dict(jax.jit(jax.grad(run))(experiment.variables["params"]))
    assert all(np.any(value != 0) for value in gradient.values())


def test_late_layers_may_have_the_rate_of_new_ones():
    group = tiny.experiment("train", method="cam", new_from="layer4").method.group
    assert group(("backbone", "layer4.0", "conv1", "kernel")) == "new" == group(("head", "fc", "kernel"))
    assert group(("backbone", "layer3.0", "conv1", "kernel")) == "base"


@pytest.mark.parametrize("name", ["cam", "has", "cutmix"])
def test_a_network_with_layers_after_its_map_is_an_error(name):
    config = tiny.config("train", "vgg_gap", method=name).unlock()
    config.arch = "vgg16"
    with pytest.raises(InputError, match=f"method {name}: vgg16 has layers .* as vgg_gap"):
        METHODS[name].make(config, tiny.CLASSES)


def test_only_the_weights_of_the_classes_are_held_positive():
    train = tiny.config("train", method="cam")
    train.cam.positive = True
    method = METHODS["cam"].make(train, tiny.CLASSES)
    group = method.group
    assert group(("head", "fc", "kernel")) == "positive" and method.has_positive
    assert group(("head", "fc", "bias")) == "new"
    assert group(("backbone", "layer4.0", "conv1", "kernel")) == "base"
