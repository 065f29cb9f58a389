r"""CAM on CUB-200-2011, ResNet-50 with 28 x 28 cells; one key selects HaS, ACoL, SPG, ADL, CutMix or Grad-CAM.

    python launch.py --config=configs/cam_cub.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.train.weights=resnet50.pth --config.train.method=has

resnet50.pth is torchvision's. The values are those of DA-WSOL's published script for CUB and ResNet-50, without its
domain adaptation. wsolevaluation reports a MaxBoxAccV2 of 63.0 for CAM on ResNet-50, 64.7 for HaS, 66.5 ACoL, 60.4
SPG, 58.4 ADL, 62.8 CutMix, each with learning rates that are not published with its code; F-CAM's authors report
0.0017 and a division every 15 epochs.
The whole network is trained for 50 epochs: for a GPU or TPU; configs/cam_birds25.py is for two CPU cores.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base


def get_config() -> ConfigDict:
    """Return the common values of score maps, on CUB."""
    config = base()
    config.stages = "train,predict,evaluate,report"
    config.data.name = "cub"
    config.predict.test_geometry = "resize"
    config.report.published = "cub"
    config.train.arch = "resnet50"
    config.train.arch_kwargs.stride = 8
    return config
