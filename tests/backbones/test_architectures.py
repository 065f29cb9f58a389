"""Every architecture at its full size, from shapes alone, against the numbers of torchvision and timm."""

import math

import jax
import numpy as np
import pytest

from wsol_jax.backbones import BACKBONES, build, preprocess
from wsol_jax.backbones.initialise import shapes

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)
DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)

# millions of parameters with 1000 classes, side of the input, share of the photo it covers, (mean, std) on 0..1
PUBLISHED = {
    "vgg16": (138.36, 224, 0.875, IMAGENET),
    "vgg_gap": (15.23, 224, 0.875, IMAGENET),
    "resnet50": (25.56, 224, 0.875, IMAGENET),
    "resnet50_v1": (25.56, 224, 0.875, IMAGENET),
    "inception_v3": (27.16, 299, 0.934, HALF),
    "densenet161": (28.68, 224, 0.875, IMAGENET),
    "dpn68": (12.61, 224, 0.875, DPN),
    "dpn92": (37.67, 224, 0.875, DPN),
    "dpn98": (61.57, 224, 0.875, DPN),
    "dpn131": (79.25, 224, 0.875, DPN),
    "efficientnet_lite0": (4.65, 224, 0.875, LITE),
    "efficientnet_b0": (5.29, 224, 0.875, IMAGENET),
    "efficientnet_b1": (7.79, 240, 0.882, IMAGENET),
    "efficientnet_b2": (9.11, 260, 0.890, IMAGENET),
    "efficientnet_b3": (12.23, 300, 0.904, IMAGENET),
    "efficientnet_b4": (19.34, 380, 0.922, IMAGENET),
    "efficientnet_b5": (30.39, 456, 0.934, IMAGENET),
    "efficientnet_b6": (43.04, 528, 0.942, IMAGENET),
    "efficientnet_b7": (66.35, 600, 0.949, IMAGENET),
    "convnext_tiny": (28.59, 224, 0.949, IMAGENET),
}


def test_all_are_here():
    assert list(PUBLISHED) == list(BACKBONES)


@pytest.mark.long
@pytest.mark.parametrize("arch", PUBLISHED)
def test_an_architecture_is_as_published(arch):
    spec = BACKBONES[arch]
    millions, size, crop, (mean, std) = PUBLISHED[arch]
    params = shapes(build(arch, 1000), (1, 112, 112, 3))["params"]
    assert round(sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) / 1e6, 2) == millions
    assert spec.size == size and abs(spec.size / spec.resize - crop) < 1.1e-3
    photo = np.random.default_rng(0).integers(256, size=(1, 2, 2, 3), dtype=np.uint8)
    expected = (photo / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(preprocess(photo, spec.preprocessing), expected, atol=2e-6)
