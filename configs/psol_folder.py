"""PSOL on your own photos: one folder for each class, no boxes; boxes come out, for training and test photos alike.

    python launch.py --config=configs/psol_folder.py --workdir=W --config.data.dir=PHOTOS

The boxes are in W/predictions/train.parquet and test.parquet, as COCO JSON beside them, and drawn in
W/report/index.html. Nothing is downloaded: the pretrained networks came with pip. The log tells how long it takes.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base
from configs.quickstart import LITE0


def get_config() -> ConfigDict:
    """Small networks on whole-sized photos, for some hundred of them."""
    config = base()
    config.data.name = "folder"
    for training in (config.localizer, config.classifier):
        training.arch = "efficientnet_lite0"
        training.weights = LITE0
        training.batch_size = 32
        training.epochs = 20.0
        training.learning_rate = 5e-3
        training.checkpoint_every = 50
    config.classifier.decay_every = 10.0
    config.predict.splits = "train,test"
    return config
