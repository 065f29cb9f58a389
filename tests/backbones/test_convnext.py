"""ConvNeXt: torchvision's network in plain numpy, its names and timm's, and its form for score maps."""

import jax
import numpy as np
import pytest
import small
from fill import fill, image
from flax.traverse_util import flatten_dict
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf
from torch_inception import channels, correlate

from wsol_jax.backbones import build, names
from wsol_jax.backbones.convnext import ConvNeXt, from_timm
from wsol_jax.backbones.initialise import shapes
from wsol_jax.weights.pretrained import load_weights, save_weights
from wsol_jax.weights.weight_files import write_weights

TINY = dict(widths=(96, 192, 384, 768), depths=(3, 3, 9, 3))
NARROW = small.NARROW["convnext_tiny"]


def layer_norm(state, name, x):
    """torchvision's LayerNorm2d, over the channels of [b, d, ...]."""
    x = x - x.mean(axis=1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return x * state[f"{name}.weight"].reshape(shape) + state[f"{name}.bias"].reshape(shape)


def block(state, name, x):
    windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3))), (7, 7), axis=(2, 3))
    y = np.einsum("bchwij,cij->bchw", windows, state[f"{name}.block.0.weight"][:, 0], optimize=True)
    y = layer_norm(state, f"{name}.block.2", y + channels(state[f"{name}.block.0.bias"]))
    y = np.einsum("bchw,oc->bohw", y, state[f"{name}.block.3.weight"]) + channels(state[f"{name}.block.3.bias"])
    y = y * (1 + erf(y / np.sqrt(2))) / 2
    y = np.einsum("bchw,oc->bohw", y, state[f"{name}.block.5.weight"]) + channels(state[f"{name}.block.5.bias"])
    return x + y * channels(state[f"{name}.layer_scale"])


def reference(state, x, depths, stride=32):
    """The map of every stage, [b, d, h, w], and the logits; with a stride of 16 or 8 those for score maps."""
    conv = correlate(x, state["features.0.0.weight"], 4, 0) + channels(state["features.0.0.bias"])
    maps = {"stem": layer_norm(state, "features.0.1", conv)}
    for i, depth in enumerate(depths):
        x = list(maps.values())[-1]
        if i > 0:
            y = layer_norm(state, f"features.{2 * i}.0", x)
            keeps = 2 ** (2 + i) > stride
            y = np.pad(y, ((0, 0), (0, 0), (0, 1), (0, 1))) if keeps else y
            x = correlate(y, state[f"features.{2 * i}.1.weight"], 1 if keeps else 2, 0)
            x = x + channels(state[f"features.{2 * i}.1.bias"])
        for j in range(depth):
            x = block(state, f"features.{2 * i + 1}.{j}", x)
        maps[f"stages.{i}"] = x
    if stride < 32:
        maps["norm"] = layer_norm(state, "classifier.0", x)
        vector = maps["norm"].mean(axis=(2, 3))
    else:
        vector = layer_norm(state, "classifier.0", x.mean(axis=(2, 3)))
    return maps, vector @ state["classifier.2.weight"].T + state["classifier.2.bias"]


def filled(network, dtype="float32"):
    """Variables and their state dict; with factors of the residuals near 1, so that every block counts."""
    template = jax.tree.map(lambda leaf: np.broadcast_to(0.0, leaf.shape), shapes(network, (1, 64, 64, 3)))
    state = {name: fill(name, zeros.shape) for name, zeros in names.to_state_dict(template).items()}
    return names.from_state_dict({name: value.astype(dtype) for name, value in state.items()}, template), state


def assert_is_reference(network, depths, dtype, tolerance, sides):
    x = image(*sides)
    with jax.enable_x64(dtype == "float64"):
        variables, state = filled(network, dtype)
        expected, logits = reference(state, x, depths, network.backbone.stride)
        out = small.run(network, variables, x.transpose(0, 2, 3, 1).astype(dtype))
    assert list(network.backbone.stages) == list(expected)
    for stage, value in expected.items():
        assert out.maps[stage].dtype == dtype
        scale = np.abs(value).max()
        np.testing.assert_allclose(out.maps[stage].transpose(0, 3, 1, 2), value, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(out.head, logits, rtol=0, atol=tolerance * np.abs(logits).max())


@pytest.mark.parametrize("stride", small.first_alone([32, 16, 8]))
def test_narrow_network_is_the_reference_at_odd_sides(stride):
    with jax.enable_x64(True):
        network = small.network("convnext_tiny", dtype="float64", stride=stride)
    assert_is_reference(network, NARROW["depths"], "float64", 1e-12, (75, 98))


def test_whole_network_is_the_reference():
    assert_is_reference(build("convnext_tiny", 1000), TINY["depths"], "float32", 1e-4, (64, 64))


def torchvision_names(depths):
    """The names of torchvision's state dict."""
    layers = ["features.0.0", "features.0.1", "classifier.0", "classifier.2"]
    layers += [f"features.{i}.{j}" for i in (2, 4, 6) for j in (0, 1)]
    blocks = [f"features.{2 * i + 1}.{j}" for i, depth in enumerate(depths) for j in range(depth)]
    layers += [f"{name}.block.{i}" for name in blocks for i in (0, 2, 3, 5)]
    return {f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")} | {f"{b}.layer_scale" for b in blocks}


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_names_are_those_of_torchvision_at_every_stride(stride):
    paths = flatten_dict(shapes(build("convnext_tiny", 1000, stride=stride)))
    assert {names.name_of(path) for path in paths} == torchvision_names(TINY["depths"])


def to_timm(name):
    """Our names in timm's network, written out the other way."""
    parts = name.split(".")
    if parts[0] == "classifier":
        return f"head.{dict([('0', 'norm'), ('2', 'fc')])[parts[1]]}.{parts[2]}"
    group, rest = int(parts[1]), parts[2:]
    if group == 0:
        return ".".join(["stem", *rest])
    if group % 2 == 0:
        return ".".join([f"stages.{group // 2}.downsample", *rest])
    if rest[1] == "layer_scale":
        return f"stages.{group // 2}.blocks.{rest[0]}.gamma"
    layer = {"0": "conv_dw", "2": "norm", "3": "mlp.fc1", "5": "mlp.fc2"}[rest[2]]
    return f"stages.{group // 2}.blocks.{rest[0]}.{layer}.{rest[3]}"


def test_names_of_timm_become_ours():
    ours = torchvision_names(TINY["depths"])
    assert all(from_timm(to_timm(name)) == name for name in ours)
    assert from_timm("stages.0.blocks.1.gamma") == "features.1.1.layer_scale"
    assert from_timm("stages.2.downsample.1.weight") == "features.4.1.weight"
    assert from_timm("odd") == "odd" and from_timm("stages.0.blocks.0.odd.bias") == "features.1.0.odd.bias"


@pytest.mark.parametrize("stride", [32, 8])
@pytest.mark.parametrize("naming", ["torchvision", "timm"])
def test_published_weights_load_under_either_naming(naming, stride, tmp_path):
    state = names.to_state_dict(small.variables(small.network("convnext_tiny"), seed=1))
    published = {to_timm(name): array for name, array in state.items()}
    if naming == "torchvision":  # its layer scale has three axes
        published = {n: a.reshape(-1, 1, 1) if n.endswith("layer_scale") else a for n, a in state.items()}
    write_weights(published, tmp_path / "w.safetensors")
    network = small.network("convnext_tiny", stride=stride)
    source = str(tmp_path / "w.safetensors")
    loaded, message = load_weights(network, small.variables(network), source, "convnext_tiny", new_head=False)
    back = names.to_state_dict(loaded)
    assert set(back) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, strict=True)
    assert "left out" not in message and "new" not in message


def test_weights_of_one_form_start_the_other(tmp_path):
    """Of a network for score maps the norm is in the backbone, of the published one in the neck; their names agree."""
    coarse, fine = (small.network("convnext_tiny", stride=stride) for stride in (32, 8))
    saved = small.variables(fine, seed=1)
    save_weights(saved, tmp_path / "w.safetensors")
    loaded, _ = load_weights(
        coarse, small.variables(coarse), str(tmp_path / "w.safetensors"), "convnext_tiny", new_head=False
    )
    np.testing.assert_array_equal(
        loaded["params"]["neck"]["classifier.0"]["scale"], saved["params"]["backbone"]["classifier.0"]["scale"]
    )


def test_a_trunk_at_32_needs_no_norm_of_the_classifier(tmp_path):
    save_weights(small.variables(small.network("convnext_tiny"), seed=1), tmp_path / "w.safetensors")
    trunk = small.backbone("convnext_tiny")
    _, message = load_weights(
        trunk, small.variables(trunk), str(tmp_path / "w.safetensors"), "convnext_tiny", new_head=True
    )
    assert message.endswith("; 4 left out (classifier.0, classifier.2)")


def test_layer_scale_starts_small():
    params = small.variables(small.network("convnext_tiny"))["params"]["backbone"]
    assert np.all(params["features.1.0"]["layer_scale"] == np.float32(1e-6))


def test_a_cell_at_every_second_place_is_that_of_the_published_stride():
    """The 2x2 convolution without its stride: at (2i, 2j) it gives what the one with it gives at (i, j)."""
    narrow = NARROW | dict(depths=(1, 1, 1, 0))  # a block after the last convolution would mix cells of the finer map
    coarse, fine = (ConvNeXt(**narrow, stride=stride) for stride in (32, 16))
    variables, photos = small.variables(coarse), small.photos(1, 96)
    template = small.variables(fine)
    template["params"] |= variables["params"]
    a, b = small.run(coarse, variables, photos)["stages.3"], small.run(fine, template, photos)["stages.3"]
    np.testing.assert_allclose(b[:, ::2, ::2], a, rtol=1e-4, atol=1e-5)
