"""The cells of every stage that depend on a pixel, at odd and unequal sides, where torch and TensorFlow differ.

If all weights are positive and a single pixel is not zero, exactly the cells that depend on it are not zero.
"""

import jax
import numpy as np
import pytest
import small

SIDES = (101, 92)  # whenever the map is halved, one of its sides is odd and one even
PIXELS = ((0, 0), (100, 91), (49, 36))

# of each stage of the narrow networks: (kernel, stride, padding) of its layers that are wider than one cell
SAME, TORCH, UNPADDED = "SAME", "TORCH", "UNPADDED"  # TensorFlow's padding; half of the kernel on every side; none
STAGES = {
    "resnet50": {
        "conv1": [(7, 2, TORCH)],
        "layer1": [(3, 2, TORCH), (3, 1, TORCH)],
        "layer2": [(3, 2, TORCH), (3, 1, TORCH)],
        "layer3": [(3, 2, TORCH)],
        "layer4": [(3, 2, TORCH)],
    },
    "densenet161": {
        "conv0": [(7, 2, TORCH)],
        "denseblock1": [(3, 2, TORCH), (3, 1, TORCH)],
        "transition1": [(2, 2, UNPADDED)],
        "denseblock2": [(3, 1, TORCH), (3, 1, TORCH)],
        "transition2": [(2, 2, UNPADDED)],
        "denseblock3": [(3, 1, TORCH)],
        "transition3": [(2, 2, UNPADDED)],
        "denseblock4": [(3, 1, TORCH)],
        "norm5": [],
    },
    "dpn68": {
        "conv1_1": [(3, 2, TORCH)],
        "conv2": [(3, 2, TORCH), (3, 1, TORCH)],
        "conv3": [(3, 2, TORCH)],
        "conv4": [(3, 2, TORCH), (3, 1, TORCH)],
        "conv5": [(3, 2, TORCH)],
        "conv5_bn_ac": [],
    },
    "efficientnet_lite0": {
        "conv_stem": [(3, 2, SAME)],
        "blocks.0": [(3, 1, SAME)],
        "blocks.1": [(3, 2, SAME)],
        "blocks.2": [(5, 2, SAME)],
        "blocks.3": [(3, 2, SAME)],
        "blocks.4": [(5, 1, SAME)],
        "blocks.5": [(5, 2, SAME), (5, 1, SAME)],
        "blocks.6": [(3, 1, SAME)],
        "conv_head": [],
    },
}


def seeing(sees, kernel, stride, padding):
    """The cells of one axis after a layer that depend on the pixel, bool [n'], by those before it, bool [n]."""
    n = len(sees)
    before = after = kernel // 2 if padding == TORCH else 0
    if padding == SAME:
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        before, after = total // 2, total - total // 2
    padded = np.pad(sees, (before, after))
    return np.array([padded[i : i + kernel].any() for i in range(0, len(padded) - kernel + 1, stride)])


@pytest.mark.parametrize("arch", STAGES)
def test_a_pixel_is_seen_by_the_same_cells_as_published(arch):
    photos = np.zeros((len(PIXELS), *SIDES, 3), np.float32)
    expected = []
    for photo, pixel in zip(photos, PIXELS, strict=True):
        photo[pixel] = 1
        expected.append([np.arange(side) == position for side, position in zip(SIDES, pixel, strict=True)])
    backbone = small.backbone(arch)
    maps = small.run(backbone, jax.tree.map(np.abs, small.variables(backbone)), photos)
    assert set(STAGES[arch]) <= set(maps)
    for stage, layers in STAGES[arch].items():
        for layer in layers:
            expected = [[seeing(axis, *layer) for axis in axes] for axes in expected]
        cells = np.stack([np.outer(rows, columns) for rows, columns in expected])
        np.testing.assert_array_equal((maps[stage] > 0).any(-1), cells, err_msg=stage)
