"""The variants for localisation: strides of 16 and 8, hooks, more layers, a 1x1 convolution as head."""

import jax
import numpy as np
import pytest
import small
from flax.traverse_util import flatten_dict

from wsol_jax.backbones import BACKBONES, layers, names, trunk
from wsol_jax.backbones.heads import Classifier
from wsol_jax.backbones.layers import frozen_stages
from wsol_jax.weights.pretrained import load_weights

VARIANTS = {
    "resnet50": dict(added="", omitted=(), kwargs={}),
    "resnet50_v1": dict(added="", omitted=(), kwargs={}),
    "vgg_gap": dict(added="conv6", omitted=(), kwargs=dict(conv6=10)),
    "inception_v3": dict(
        added="SPG_A3_1b.0, SPG_A3_2b.0", omitted=("AuxLogits", "Mixed_7a", "Mixed_7b", "Mixed_7c"), kwargs={}
    ),
    "densenet161": dict(added="", omitted=(), kwargs={}),
    "dpn68": dict(added="", omitted=(), kwargs={}),
    "efficientnet_lite0": dict(added="", omitted=(), kwargs={}),
    "convnext_tiny": dict(added="", omitted=(), kwargs={}),
}
CHANGED = {  # the first stages whose maps have more cells, with a stride of 16 and of 8
    "resnet50": ("layer4", "layer3"),
    "resnet50_v1": ("layer4", "layer3"),
    "vgg_gap": ("pool5", "pool4"),
    "densenet161": ("transition3", "transition2"),
    "dpn68": ("conv5", "conv4"),
    "efficientnet_lite0": ("blocks.5", "blocks.3"),
    "convnext_tiny": ("stages.3", "stages.2"),
}


def variant(arch, stride, **kwargs):
    return small.network(arch, stride=stride, **VARIANTS[arch]["kwargs"], **kwargs)


DEPTHS = {
    "resnet50": 2048,
    "vgg16": 1024,
    "inception_v3": 1024,
    "densenet161": 2208,
    "dpn68": 832,
    "efficientnet_lite0": 1280,
    "convnext_tiny": 768,
}


@pytest.mark.long
@pytest.mark.parametrize("arch", DEPTHS)
@pytest.mark.parametrize("stride, cells", [(16, 14), (8, 28)])
def test_224_pixels_make_as_many_cells_as_published(arch, stride, cells):
    conv6 = dict(conv6=1024) if arch == "vgg16" else {}
    backbone = trunk(arch, stride=stride, **conv6)
    shapes = jax.eval_shape(lambda key: backbone.init_with_output(key, small.photos(1, 224), False), jax.random.key(0))
    maps, _ = shapes
    assert maps[list(backbone.stages)[-1]].shape == (1, cells, cells, DEPTHS[arch])
    assert set(backbone.stages) <= set(maps)


@pytest.mark.long
@pytest.mark.parametrize("arch", VARIANTS)
@pytest.mark.parametrize("stride", [16, 8])
def test_published_weights_load_and_what_is_new_is_named(arch, stride, tmp_path):
    """All that a variant shares with the whole network comes from the file; nothing else changes."""
    state = names.to_state_dict(small.variables(small.network(arch, 7), seed=1))
    np.savez(tmp_path / "w.npz", **state)
    network = variant(arch, stride)
    before = small.variables(network)
    loaded, message = load_weights(network, before, str(tmp_path / "w.npz"), arch, new_head=True)
    added, omitted, _ = VARIANTS[arch].values()
    head = BACKBONES[arch].classifier
    new = (*(added.split(", ") if added else ()), head)
    assert message.endswith(f"; new: {', '.join(sorted(new))}")
    mine, old = names.to_state_dict(loaded), names.to_state_dict(before)
    shared = {name for name in state if not name.startswith((*omitted, head))}
    fresh = {name for name in old if name.startswith(new)}
    assert set(mine) == shared | fresh
    assert all(np.array_equal(mine[name], state[name]) for name in shared)
    assert all(np.array_equal(mine[name], old[name]) for name in fresh)


@pytest.mark.parametrize("arch", small.first_alone(CHANGED))
def test_stride_moves_no_weight_and_changes_no_earlier_map(arch):
    whole = small.backbone(arch)
    variables, photos = small.variables(whole), small.photos(1)
    expected = small.run(whole, variables, photos)
    for stride, first in zip((16, 8), CHANGED[arch], strict=True):
        backbone = small.backbone(arch, stride=stride)
        template = small.variables(backbone)
        mine, theirs = (names.to_state_dict(tree) for tree in (template, variables))
        norm = {"classifier.0.weight", "classifier.0.bias"} if arch == "convnext_tiny" else set()
        assert set(mine) == set(theirs) | norm
        assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)
        maps = small.run(backbone, template, photos)
        for stage in whole.stages:
            if stage == first:
                break
            np.testing.assert_allclose(maps[stage], expected[stage], rtol=1e-5, atol=1e-5)
        assert maps[list(backbone.stages)[-1]].shape[1:3] == (64 // stride, 64 // stride)


@pytest.mark.parametrize(
    "arch, stage, changes, first",
    [
        ("resnet50", "layer4", dict(depths=(1,) * 4), 0),
        ("dpn68", "conv5", dict(depths=(1,) * 4), 0),
        ("efficientnet_lite0", "blocks.5", dict(depths=(1,) * 7, widths=(4, 4, 6, 6, 8, 10, 12)), 1),
    ],
)
def test_layer_without_its_stride_has_the_same_output_at_every_second_cell(arch, stage, changes, first):
    """TensorFlow's padding of an even map centres a kernel of stride 2 on the odd cells, torch's on the even ones."""
    narrow = small.NARROW[arch] | changes
    coarse, fine = (trunk(arch, stride=stride, **narrow) for stride in (32, 16))
    variables, photos = small.variables(coarse), small.photos(1, 128)
    a, b = (small.run(backbone, variables, photos)[stage] for backbone in (coarse, fine))
    assert a.shape[1:3] == (4, 4) and np.any(a != 0)
    np.testing.assert_allclose(b[:, first::2, first::2], a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "stride, expected", [(32, (2, 2, 2, 2, 2)), (16, (2, 2, 2, 2, 1)), (8, (2, 2, 2, 1, 1)), (4, (2, 2, 1, 1, 1))]
)
def test_strides_are_left_out_from_the_last_stage_on(stride, expected):
    strides = layers.strides(trunk("resnet50").clone(stride=stride))
    assert strides == dict(zip(("conv1", "layer1", "layer2", "layer3", "layer4"), expected, strict=True))


def test_strides_of_a_stem_of_stride_4():
    assert list(layers.strides(trunk("convnext_tiny", stride=8)).values()) == [4, 2, 1, 1]


@pytest.mark.parametrize("arch", small.NARROW)
def test_a_hook_may_change_the_map_of_every_stage(arch):
    seen = []

    def hook(module, name, x, train):
        seen.append(name)
        return x[..., :1] if name == list(module.stages)[-1] else x

    plain, hooked = small.backbone(arch), small.backbone(arch, hook=hook)
    variables, photos = small.variables(plain), small.photos(1, small.side(arch))
    maps = jax.eval_shape(lambda variables: hooked.apply(variables, photos, False), variables)
    assert [name for name in seen if name in plain.stages] == list(plain.stages) and set(seen) == set(maps)
    assert maps[list(plain.stages)[-1]].shape[-1] == 1


def test_vgg_without_pool4_pools_no_more_than_three_times():
    backbone = small.backbone("vgg_gap", stride=8, conv6=10)
    assert [stage for stage in backbone.stages if stage.startswith("pool")] == ["pool1", "pool2", "pool3"]
    assert list(backbone.stages)[-2:] == ["relu5_1", "conv6"]
    variables = small.variables(backbone)
    maps = small.run(backbone, variables, small.photos(1, 16))
    x, kernel = np.pad(maps["relu5_1"], ((0, 0), (1, 1), (1, 1), (0, 0))), variables["params"]["conv6"]["kernel"]
    expected = sum(x[:, i : i + 2, j : j + 2] @ kernel[i, j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(maps["conv6"], np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("arch, freeze", [("resnet50", ""), ("vgg_gap", ""), ("inception_v3", "Mixed_6d")])
def test_every_parameter_of_a_variant_learns(arch, freeze):
    network = variant(arch, 8, pointwise=True, freeze=freeze)
    variables, photos = small.variables(network), small.photos(2, 48)
    frozen = {layer for stage in frozen_stages(network.backbone) for layer in network.backbone.stages[stage]}

    def loss(params):
        options = dict(mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})
        out, _ = network.apply({**variables, "params": params}, photos, True, **options)
        return (out.head**2).sum()

    for path, value in flatten_dict(jax.jit(jax.grad(loss))(variables["params"])).items():
        assert np.any(value != 0) != (path[1] in frozen), path


def test_pointwise_head_is_the_linear_one_and_takes_a_map():
    linear, convolution = (small.network("resnet50", stride=8, pointwise=p) for p in (False, True))
    variables = small.variables(linear)
    state = names.to_state_dict(variables)
    state["fc.weight"] = state["fc.weight"][:, :, None, None]
    assert (
        names.to_state_dict(small.variables(convolution))["fc.weight"].shape
        == state["fc.weight"].shape
        == (3, 128, 1, 1)
    )
    moved = names.from_state_dict(state, small.variables(convolution))
    photos = small.photos()
    expected, out = small.run(linear, variables, photos), small.run(convolution, moved, photos)
    np.testing.assert_allclose(out.head, expected.head, rtol=1e-5, atol=1e-6)
    cells = Classifier(3, "fc", pointwise=True).apply({"params": moved["params"]["head"]}, out.maps["layer4"])
    assert cells.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(cells.mean((1, 2)), out.head, rtol=1e-4, atol=1e-5)


def test_head_is_linear_by_default():
    assert small.variables(small.network("resnet50"))["params"]["head"]["fc"]["kernel"].shape == (128, 3)
