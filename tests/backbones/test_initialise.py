from collections.abc import Mapping

import jax
import numpy as np
import pytest
import small
from flax import linen as nn

from wsol_jax.backbones import build, initialise, trunk


def test_values_depend_on_the_key_and_the_path_alone():
    network = small.network("resnet50")
    first, again, other = (small.variables(network, seed) for seed in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    assert not np.array_equal(first["params"]["head"]["fc"]["kernel"], other["params"]["head"]["fc"]["kernel"])
    wider_head = small.variables(small.network("resnet50", "box"))
    assert jax.tree.all(jax.tree.map(np.array_equal, first["params"]["backbone"], wider_head["params"]["backbone"]))


def test_scales_are_those_of_torch():
    params = initialise(jax.random.key(0), build("efficientnet_lite0", 10))["params"]
    backbone, head = params["backbone"], params["head"]["classifier"]
    block = backbone["blocks.5.1"]
    assert np.isclose(block["conv_pw"]["kernel"].std(), np.sqrt(2 / (6 * 192)), rtol=0.02)
    assert np.isclose(block["conv_dw"]["kernel"].std(), np.sqrt(2 / 25), rtol=0.02)  # each channel sees itself alone
    bound = 1 / np.sqrt(1280)
    for leaf in head.values():
        assert 0.7 * bound < np.abs(leaf).max() <= bound and leaf.dtype == np.float32
    assert (block["bn1"]["scale"] == 1).all() and (block["bn1"]["bias"] == 0).all()


def test_a_1x1_convolution_as_head_is_xavier_uniform_without_bias():
    head = initialise(jax.random.key(0), build("resnet50", 10, pointwise=True))["params"]["head"]["fc"]
    bound = np.sqrt(6 / (2048 + 10))
    assert 0.99 * bound < np.abs(head["kernel"]).max() <= bound and (head["bias"] == 0).all()
    assert np.isclose(head["kernel"].std(), bound / np.sqrt(3), rtol=0.02)


class Scaled(nn.Module):
    initialisers: Mapping[str, float]

    @nn.compact
    def __call__(self, image, train):
        gamma, beta = (self.param(name, nn.initializers.ones, (1, 1, 1, 3)) for name in ("gamma", "beta"))
        return image * gamma + beta


class Whole(nn.Module):
    backbone: nn.Module

    def __call__(self, image, train):
        return self.backbone(image, train)


@pytest.mark.parametrize("wrap", [lambda backbone: backbone, Whole])
def test_leaves_with_other_names_have_the_constants_of_their_backbone(wrap):
    leaves = jax.tree.leaves(initialise(jax.random.key(0), wrap(Scaled({"gamma": 0.25, "beta": 3.0}))))
    assert [leaf.ravel().tolist() for leaf in leaves] == [[3.0] * 3, [0.25] * 3]
    with pytest.raises(ValueError, match=r"no rule to fill params\..*beta"):
        initialise(jax.random.key(0), wrap(Scaled({"gamma": 0.25})))


def test_a_network_without_batch_norm_has_empty_statistics():
    variables = initialise(jax.random.key(0), trunk("vgg16"))
    assert set(variables) == {"params", "batch_stats"} and variables["batch_stats"] == {}
    assert (variables["params"]["features.0"]["bias"] == 0).all()
