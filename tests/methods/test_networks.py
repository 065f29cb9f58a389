"""Running a network, and the optimiser groups of its parameters."""

import jax
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax.backbones import BACKBONES, build, initialise
from wsol_jax.methods.networks import apply, make_network, parameter_group, preparation


def network(arch="resnet50", freeze="", **changes):
    return build(arch, 3, freeze=freeze, **tiny.NARROW[arch], **changes)


def groups(arch, freeze, new_head):
    built = network(arch, freeze)
    params = initialise(jax.random.key(0), built, (1, 64, 64, 3))["params"]
    group = parameter_group(built, new_head)
    layers = {}
    for path in flatten_dict(params):
        layers.setdefault(group(path), set()).add(path[1] if path[0] == "backbone" else path[0])
    return layers


def test_groups_of_a_whole_network():
    layers = {"conv1", "bn1", "layer1.0", "layer2.0", "layer3.0", "layer4.0"}
    assert groups("resnet50", "", True) == {"base": layers, "new": {"head"}}
    assert groups("resnet50", "", False) == {"base": layers | {"head"}}


def test_groups_of_a_frozen_network():
    assert groups("resnet50", "layer2", True) == {
        "frozen": {"conv1", "bn1", "layer1.0", "layer2.0"},
        "base": {"layer3.0", "layer4.0"},
        "new": {"head"},
    }
    assert groups("resnet50", "layer4", True)["new"] == {"head"}
    assert "base" not in groups("resnet50", "layer4", True)
    assert groups("vgg_gap", "pool1", False) == {
        "frozen": {"features.0"},
        "base": {"features.3", "features.6", "features.9", "features.12", "head"},
    }


@pytest.mark.parametrize("arch", ["resnet50", "efficientnet_lite0"])
def test_preparation_is_that_of_the_weights(arch):
    image = np.full((1, 2, 2, 3), 200, np.uint8)
    mean, std = BACKBONES[arch].preprocessing
    np.testing.assert_allclose(preparation(BACKBONES[arch], "float32")(image)[0, 0, 0], (200 - np.array(mean)) / std)
    assert preparation(BACKBONES[arch], "bfloat16")(image).dtype == "bfloat16"


def test_only_training_changes_the_averages_and_drops():
    built = network("efficientnet_lite0")
    variables = initialise(jax.random.key(0), built, (1, 64, 64, 3))
    image = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)
    run = jax.jit(lambda key, train: apply(built, variables, image, key, train), static_argnums=1)
    out, kept = run(None, False)
    tiny.assert_trees_equal(kept, variables["batch_stats"])
    dropped, changed = run(jax.random.key(0), True)
    assert jax.tree.structure(changed) == jax.tree.structure(kept)
    assert all((a != b).any() for a, b in zip(jax.tree.leaves(changed), jax.tree.leaves(kept), strict=True))
    assert (np.asarray(dropped.head) != np.asarray(out.head)).any()
    otherwise, _ = run(jax.random.key(1), True)
    assert (np.asarray(dropped.head) != np.asarray(otherwise.head)).any()


def test_a_network_without_averages_has_none_after_training():
    built = network("vgg_gap")
    variables = initialise(jax.random.key(0), built, (1, 64, 64, 3))
    image = np.zeros((1, 64, 64, 3), np.float32)
    assert apply(built, variables, image, jax.random.key(0), True)[1] == {}


HEADS = [("vgg16", {}, {"head"}), ("vgg_gap", {"conv6": 6}, {"head", "conv6"})]
SOME_OF_VGG16 = {("backbone", "features.0"), ("neck", "classifier.0"), ("head", "classifier.6")}


@pytest.mark.parametrize("arch, kwargs, learns", HEADS)
def test_the_head_alone_and_what_a_variant_adds(arch, kwargs, learns):
    config = tiny.config("classifier", "vgg_gap", trainable="head")
    with config.unlocked():
        config.arch, config.arch_kwargs = arch, {**tiny.NARROW["vgg_gap"], **kwargs}
    built = make_network(config, 3)
    params = initialise(jax.random.key(0), built, (1, 64, 64, 3))["params"] if arch == "vgg_gap" else {}
    paths = set(flatten_dict(params)) or SOME_OF_VGG16
    group = parameter_group(built, True, config.trainable)
    moving = {path for path in paths if group(path) != "frozen"}
    assert {path[1] if path[0] == "backbone" else path[0] for path in moving} == learns
    assert {group(path) for path in moving} == {"new"}
