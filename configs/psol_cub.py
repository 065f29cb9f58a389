r"""PSOL on CUB-200-2011, as in the paper (section 4.2): VGG16 pseudo boxes, ResNet-50 localizer and classifier.

    python launch.py --config=configs/psol_cub.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.localizer.arch=resnet50 --config.localizer.weights=resnet50.pth \
        --config.classifier.arch=resnet50 --config.classifier.weights=resnet50.pth

resnet50.pth is torchvision's; without these four keys the ImageNet weights are those of a ResNet-50 v1 in
../shared/weights. For all of CUB the paper has Top-1 Loc 70.68 and Top-5 Loc 86.64 (Table 2), and GT-known Loc 84.55
for the pseudo boxes (Table 1). The whole networks are trained for 30 epochs: for a GPU or TPU; configs/psol_birds25.py
is a recipe for two CPU cores.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base

RESNET50 = "../shared/weights/resnet50_v1_imagenet.safetensors"


def get_config() -> ConfigDict:
    """Return the base with CUB's batch size, epochs and decay."""
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
