import jax
import numpy as np
import pytest
import small
import torch_inception
from fill import fill
from numpy.lib.stride_tricks import sliding_window_view

from wsol_jax.backbones import BACKBONES, names, preprocess
from wsol_jax.errors import InputError


def filled(module):
    """Variables with numbers that keep a map's scale, and their state dict."""
    template = small.variables(module)
    state = {name: fill(name, value.shape) for name, value in names.to_state_dict(template).items()}
    return names.from_state_dict({name: value.astype(np.float32) for name, value in state.items()}, template), state


# pools and strides see odd and even sides in these
@pytest.mark.parametrize("stride, size", small.first_alone([(32, (98, 131)), (16, (61, 64)), (8, (61, 64))]))
def test_every_block_is_torchs_at_any_size(stride, size):
    backbone = small.backbone("inception_v3", stride=stride)
    variables, state = filled(backbone)
    image = np.random.default_rng(0).normal(size=(1, 3, *size))
    expected = torch_inception.maps(state, image, stride)
    maps = small.run(backbone, variables, image.transpose(0, 2, 3, 1).astype(np.float32))
    assert list(backbone.stages)[-len(expected) :] == list(expected)
    for stage, value in expected.items():
        assert value.max() > 0.1
        np.testing.assert_allclose(maps[stage].transpose(0, 3, 1, 2), value, rtol=0, atol=1e-4 * value.max())


@pytest.mark.parametrize("size, cells", [(75, 1), (299, 8)])
def test_smallest_and_published_size(size, cells):
    backbone = small.backbone("inception_v3")
    variables = small.variables(backbone)

    def last(side):
        return jax.eval_shape(lambda v: backbone.apply(v, np.zeros((1, side, side, 3)), False), variables)["Mixed_7c"]

    assert last(size).shape[1:3] == (cells, cells)
    with pytest.raises(InputError, match="h and w at least 75"):
        last(74)


def test_auxiliary_head_is_mean_two_convolutions_and_a_mean():
    network = small.network("inception_v3")
    variables, state = filled(network)
    x = np.random.default_rng(0).normal(size=(2, 23, 26, 48))
    aux = {collection: variables[collection]["auxiliary"] for collection in ("params", "batch_stats")}
    logits, _ = network.auxiliary.apply(aux, x.astype(np.float32), True, mutable=["batch_stats"])

    y = sliding_window_view(x.transpose(0, 3, 1, 2), (5, 5), axis=(2, 3))[:, :, ::3, ::3].mean((4, 5))
    for layer in ("conv0", "conv1"):
        y = torch_inception.correlate(y, state[f"AuxLogits.{layer}.conv.weight"], 1, 0)
        y = (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-3)
        scale, bias = (torch_inception.channels(state[f"AuxLogits.{layer}.bn.{leaf}"]) for leaf in ("weight", "bias"))
        y = np.maximum(y * scale + bias, 0)
    expected = y.mean((2, 3)) @ state["AuxLogits.fc.weight"].T + state["AuxLogits.fc.bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_training_on_too_small_photos_names_the_map():
    network = small.network("inception_v3")
    options = dict(rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"])
    variables = small.variables(network)
    with pytest.raises(InputError) as error:
        jax.eval_shape(lambda v: network.apply(v, small.photos(size=298), True, **options), variables)
    assert str(error.value).startswith("map of shape (2, 16, 16, 48); the auxiliary head expects 17x17 cells or more")
    outside = jax.eval_shape(lambda v: network.apply(v, small.photos(size=298), False), variables)
    assert outside.auxiliary is None  # only training uses it


def test_preprocessing_is_transform_input_of_a_photo_normalised_for_imagenet():
    photo = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (photo / 255 - mean) / std * (std / 0.5) + (mean - 0.5) / 0.5
    spec = BACKBONES["inception_v3"]
    np.testing.assert_allclose(preprocess(photo, spec.preprocessing), expected, atol=1e-6)
    assert (spec.size, spec.resize) == (299, 320)


def test_map_for_localisation_is_the_one_after_dropout_and_only_training_drops():
    network = small.network("inception_v3", stride=16)
    variables, _ = filled(network)
    photos = small.photos(size=32)
    kept = small.run(network, variables, photos)

    def trained(key):
        return network.apply(variables, photos, True, mutable=["batch_stats"], rngs={"dropout": key})[0]

    one, other = (jax.jit(trained)(jax.random.key(seed)) for seed in (0, 1))
    zero = {stage: float((value == 0).mean()) for stage, value in one.maps.items()}
    assert zero["SPG_A3_2b"] > (kept.maps["SPG_A3_2b"] == 0).mean() + 0.2
    assert not np.array_equal(one.maps["SPG_A3_1b"], other.maps["SPG_A3_1b"])  # dropout comes before it
    np.testing.assert_array_equal(one.maps["Mixed_6e"], other.maps["Mixed_6e"])
    kernel, bias = (variables["params"]["head"]["fc"][leaf] for leaf in ("kernel", "bias"))
    for out in (one, kept):  # and nothing drops once more between the map and the head
        vector = np.asarray(out.maps["SPG_A3_2b"]).mean((1, 2))
        np.testing.assert_allclose(vector @ kernel + bias, out.head, rtol=1e-4, atol=1e-5)
