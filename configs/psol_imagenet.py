r"""PSOL on ImageNet-1k (ILSVRC), as in the paper (section 4.2), with ResNet-50 as localizer and classifier.

    python launch.py --config=configs/psol_imagenet.py --workdir=W --config.data.dir=D --config.data.imagenet.boxes=XML

D holds train/SYNSET/*.JPEG and val/*.JPEG, XML the validation photos' annotations. The weights are named as in
configs/psol_cub.py. The paper's PSOL-ResNet50-Sep has Top-1 Loc 53.98, Top-5 Loc 63.08 and GT-known Loc 65.44 on the
validation photos (Table 2). Every training photo is read 14 times (for the check, for its pseudo box, and in six epochs
of two networks), 18 million reads in all: for accelerators with many CPU cores; the log shows the remaining time.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base
from configs.psol_cub import RESNET50


def get_config() -> ConfigDict:
    """Return the base, whose defaults are ImageNet's, with its data and weights."""
    config = base()
    config.data.name = "imagenet"
    config.report.published = "ilsvrc"
    config.data.on_error = "stop"  # the numbers are of all photos
    for training in (config.localizer, config.classifier):
        training.arch = "resnet50_v1"
        training.weights = RESNET50
        training.batch_size = 256
        training.epochs = 6.0
    config.classifier.decay_every = 2.0
    config.classifier.new_head = False  # the weights know these classes
    return config
