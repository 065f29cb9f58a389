import json

import pytest

from wsol_jax.backbones import BACKBONES

# the names of efficientnet_pytorch
WHOLE = ("_conv_stem", "_bn0", "_conv_head", "_bn1", "_fc")
NARROW = ("_depthwise_conv", "_bn1", "_project_conv", "_bn2")
WIDE = ("_expand_conv", "_bn0", *NARROW)
SQUEEZE = ("_se_reduce", "_se_expand")


@pytest.mark.parametrize("arch, blocks, narrow", [("efficientnet_lite0", 16, 1), ("efficientnet_b7", 55, 4)])
def test_layers_of_efficientnet_pytorch_are_all_of_timms(arch, blocks, narrow, goldens):
    theirs = list(WHOLE)
    for i in range(blocks):
        layers = (*(WIDE if i >= narrow else NARROW), *(() if "lite" in arch else SQUEEZE))
        theirs += [f"_blocks.{i}.{layer}" for layer in layers]
    rename = BACKBONES[arch].rename["efficientnet_pytorch"]
    renamed = [rename(f"{layer}.weight") for layer in theirs]
    keys = json.loads((goldens / "backbones" / f"{arch}_keys.json").read_text())
    assert sorted(renamed) == sorted(name for name in keys if name.endswith(".weight"))


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.3._se_reduce.bias", "blocks.0.3.se.conv_reduce.bias"),
        ("_blocks.3._bn2.running_var", "blocks.0.3.bn2.running_var"),
        ("_blocks.4._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.54._project_conv.weight", "blocks.6.3.conv_pwl.weight"),
        ("_bn1.weight", "bn2.weight"),
        ("something.else", "something.else"),
    ],
)
def test_names_of_efficientnet_pytorchs_b7(theirs, ours):
    assert BACKBONES["efficientnet_b7"].rename["efficientnet_pytorch"](theirs) == ours
