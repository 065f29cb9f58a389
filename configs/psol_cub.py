"""PSOL on CUB-200-2011, as in the paper (section 4.2): VGG16 pseudo boxes, ResNet-50 localizer and classifier.

    python launch.py --config=configs/psol_cub.py --workdir=W --config.data.dir=CUB_200_2011

The weights are ImageNet's; other files are named with --config.localizer.weights and --config.classifier.weights
(torchvision's resnet50 with --config.localizer.arch=resnet50 and likewise for the classifier). For all of CUB the paper
has Top-1 Loc 70.68, Top-5 Loc 86.64 (Table 2), and GT-known Loc 84.55 for the pseudo boxes (Table 1). This trains whole
networks for 30 epochs: for a GPU or TPU; configs/psol_birds25.py is a recipe for two CPU cores.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base

RESNET50 = "../shared/weights/resnet50_v1_imagenet.safetensors"


def get_config() -> ConfigDict:
    """The base with CUB's batch size, epochs and decay."""
    config = base()
    config.data.name = "cub"
    config.report.published = "cub"
    for training in (config.localizer, config.classifier, config.joint):
        training.arch = "resnet50_v1"
        training.weights = RESNET50
        training.batch_size = 64
        training.epochs = 30.0
    config.classifier.decay_every = config.joint.decay_every = 10.0
    return config
