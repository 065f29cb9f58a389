r"""CAM on ImageNet-1k, ResNet-50 with 28 x 28 cells.

    python launch.py --config=configs/cam_ilsvrc.py --workdir=W --config.data.dir=D \
        --config.data.imagenet.boxes=XML --config.train.weights=resnet50.pth

D and XML are as in configs/psol_imagenet.py; resnet50.pth is torchvision's. The values are those of DA-WSOL's published
script for ImageNet and ResNet-50; wsolevaluation reports a MaxBoxAccV2 of 63.7. Ten epochs of the whole network on 1.28
million photos: for an accelerator, or several.
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub


def get_config() -> ConfigDict:
    """Return CUB's configuration with ImageNet's values."""
    config = cam_cub()
    config.data.name = "imagenet"
    config.report.published = "ilsvrc"
    config.train.learning_rate, config.train.epochs, config.train.decay_every = 1e-5, 10.0, 3.0
    return config
