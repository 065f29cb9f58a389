"""The sizes of networks: by hand, as published, and what the command prints."""

from functools import partial
from itertools import chain

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from wsol_jax.backbones import layers
from wsol_jax.backbones.convolutions import convolution
from wsol_jax.backbones.counting import Counts, count, count_maps, count_psol, multiply_adds
from wsol_jax.backbones.network import BACKBONES, build
from wsol_jax.tools import network_sizes as table

BOX = {512: 264_708, 2048: 1_051_140, 4096: 2_099_716}  # parameters: d * 512 + 512 + 512 * 4 + 4
CLASSIFIERS = {  # torchvision's parameters and multiply-adds
    "vgg16": (138_357_544, 15_470_264_320),
    "resnet50": (25_557_032, 4_089_184_256),
}


class Small(nn.Module):
    """Convolutions of every kind, then a linear layer."""

    @nn.compact
    def __call__(self, image, train):
        conv = partial(nn.Conv, use_bias=False, conv_general_dilated=convolution)
        x = conv(6, (3, 3), strides=2, padding="VALID")(image)  # 9x9x3 to 4x4x6
        x = nn.relu(layers.batch_norm("bn", train, "float32")(x))
        x = conv(6, (3, 3), padding=1, feature_group_count=6)(x)  # depthwise
        x = conv(8, (3, 3), padding=1, feature_group_count=2)(x)  # in two groups
        x = conv(10, (1, 1), strides=2)(x)  # 4x4x8 to 2x2x10
        return nn.Dense(7)(x.mean(axis=(1, 2)))


def multiply_adds_of(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return multiply_adds(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_a_small_network_by_hand():
    kernels = (9 * 3 * 6, 9 * 6, 9 * 3 * 8, 8 * 10, 10 * 7)
    places = (16, 16, 16, 4, 1)
    assert count(Small(), 9) == Counts(
        parameters=sum(kernels) + 2 * 6 + 7,  # scale and bias of the batch norm, bias of the linear layer
        multiply_adds=sum(kernel * n for kernel, n in zip(kernels, places, strict=True)),
    )


def test_products():
    assert multiply_adds_of(jnp.dot, (3, 5), (5, 7)) == 3 * 5 * 7
    assert multiply_adds_of(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), (2, 3, 5), (2, 7, 5)) == 2 * 3 * 5 * 7
    assert multiply_adds_of(jax.jit(jax.jit(jnp.dot)), (3, 5), (5, 7)) == 3 * 5 * 7
    assert multiply_adds_of(jnp.add, (3, 5), (3, 5)) == 0


def test_of_two_forms_the_larger_counts():
    def either(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda a, b: a @ b, lambda a, b: a + b, a, b)

    assert multiply_adds_of(either, (4, 4), (4, 4)) == 64


@pytest.mark.parametrize("arch", CLASSIFIERS)
def test_psol_exactly(arch):
    width = {"vgg16": 4096, "resnet50": 2048}[arch]
    counts = count_psol(arch)
    parameters, operations = CLASSIFIERS[arch]
    box = Counts(parameters=BOX[width], multiply_adds=512 * width + 512 * 4)
    layer = Counts(parameters=1000 * width + 1000, multiply_adds=1000 * width)
    assert counts["classifier"] == Counts(parameters=parameters, multiply_adds=operations)
    assert counts["-Joint"] == counts["classifier"] + box
    assert counts["-Sep"] == counts["classifier"] + counts["classifier"] - layer + box


def test_sep_is_two_networks():
    assert count_psol("vgg16")["-Sep"] == count(build("vgg16", 1000), 224) + count(build("vgg16", "box"), 224)


def test_vgg_gap_as_the_paper_counts_it():
    counts = {name: f"{value['parameters'] / 1e6:.2f}" for name, value in count_psol("vgg_gap", 200).items()}
    assert counts == {"classifier": "14.82", "-Sep": "29.80", "-Joint": "15.08"}


def test_convnext_as_torchvision_counts_it():
    exactly = Counts(parameters=28_589_128, multiply_adds=4_455_531_264)  # torchvision: 28589128 and 4.456 G
    assert count(build("convnext_tiny", 1000), 224) == exactly


@pytest.mark.long
def test_score_maps():
    assert count_maps("vgg16") == {}
    lite = count_maps("efficientnet_lite0")
    assert lite[16]["multiply_adds"] < lite[8]["multiply_adds"]
    assert lite[16]["parameters"] == lite[8]["parameters"] == 4_652_008
    vgg = count_maps("vgg_gap")
    assert vgg[16]["multiply_adds"] < vgg[8]["multiply_adds"]
    assert vgg[16]["parameters"] == vgg[8]["parameters"] == 14_714_688 + 9 * 512 * 1024 + 1024 + 1024 * 1000 + 1000


def printed(*lines):
    """The cells that the command prints, by network and variant, and its notes."""
    notes = []
    return {tuple(cells[:2]): cells[3:] for cells in (table._cells(line, notes) for line in chain(*lines))}, notes


def test_vgg_against_the_paper():
    cells, notes = printed(table.psol_lines("vgg16"), table.psol_lines("vgg_gap"), table.map_lines("vgg_gap"))
    assert cells["vgg16", "classifier"] == ["138.36", "138.36", "15.47", "15.42"]
    assert cells["vgg16", "-Sep"] == ["274.72", "274.72", "30.94", "30.83"]
    assert cells["vgg_gap", "-Sep"] == ["30.21", "", "30.69", ""]
    assert cells["vgg_gap", "-Sep, 200 classes"] == ["29.80", "29.64 [2]", "30.69", "30.70"]
    assert cells["vgg_gap", "classifier, stride 8"] == ["20.46", "", "23.21", ""]
    assert notes[1].startswith("vgg_gap -Sep, 200 classes, 29.64: misprint: twice the 14.82")


@pytest.mark.long
def test_resnet_against_the_paper():
    cells, _ = printed(table.psol_lines("resnet50"), table.map_lines("resnet50"))
    assert cells["resnet50", "-Sep"] == ["50.12", "50.12", "8.18", "8.18"]
    assert cells["resnet50", "-Joint"] == ["26.61", "26.61", "4.09", "4.10"]
    assert cells["resnet50", "classifier, stride 16"] == ["25.56", "", "6.21", ""]
    assert cells["resnet50", "classifier, stride 8"] == ["25.56", "", "19.08", ""]


@pytest.mark.long
def test_inception_against_the_paper():
    cells, notes = printed(table.psol_lines("inception_v3"))
    assert cells["inception_v3", "-Sep"] == ["53.32", "53.32 [1]", "11.43", "11.42"]
    assert cells["inception_v3", "-Sep, as built here"] == ["52.95", "", "11.43", ""]
    assert cells["inception_v3", "-Joint"] == ["28.21", "29.21 [2]", "5.71", "5.71"]
    assert "auxiliary" in notes[0]
    assert "misprint" in notes[1]


@pytest.mark.long
def test_densenet_against_the_paper():
    cells, notes = printed(table.psol_lines("densenet161"))
    assert cells["densenet161", "classifier"] == ["28.68", "29.81 [1]", "7.73", "7.80"]
    assert cells["densenet161", "-Sep"][:2] == ["56.29", "56.29"]
    assert cells["densenet161", "-Joint"][:2] == ["29.81", "29.81"]
    assert "that of -Joint" in notes[0]


@pytest.mark.parametrize("options", [[], ["--markdown"]])
def test_the_command(options, monkeypatch, capsys):
    monkeypatch.setattr(table, "BACKBONES", {"vgg_gap": BACKBONES["vgg_gap"]})
    assert table.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.removeprefix("| ").startswith("vgg_gap ")]
    assert len(rows) == 8
    assert "[2] vgg_gap -Sep, 200 classes, 29.64: misprint" in "\n".join(lines)
    if options:
        assert {line.count("|") for line in lines[:10]} == {8}
        assert lines[2] == "| vgg_gap | classifier | 224 | 15.23 |  | 15.35 |  |"
    else:
        assert {len(row) for row in rows if row.endswith("15.35")} >= {lines[0].index("Paper", 90) + 5}
