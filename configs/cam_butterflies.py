"""Score maps of butterflies (Leeds Butterfly Dataset in wsolevaluation's lists), in 8 minutes on two CPU cores.

    python launch.py --config=configs/cam_butterflies.py --workdir=W --config.data.dir=../shared/data/butterflies

The last stage of an ImageNet ResNet-50 and the classes are trained for five epochs, on maps of 14 x 14 cells. One key
selects another method: --config.train.method=has, acol, spg, adl, cutmix, grad_cam (up to 30 minutes).
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub
from configs.psol_cub import RESNET50


def get_config() -> ConfigDict:
    """Return a short recipe for few photos and few cores."""
    config = cam_cub()
    config.data.name = "lists"
    lists = config.data.lists
    lists.test = "metadata/val"
    lists.boxes, lists.masks, lists.mask_dir = "localization_boxes.txt", "localization_masks.txt", "masks"
    config.report.published = ""
    train = config.train
    train.arch, train.weights = "resnet50_v1", RESNET50
    train.arch_kwargs.stride = 16
    train.freeze = "layer3"
    train.batch_size, train.epochs, train.decay_every = 16, 5.0, 0.0
    train.checkpoint_every = 50
    return config
