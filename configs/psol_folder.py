"""PSOL on your own photos: one folder for each class and no boxes; the result is a box for every photo, in all formats.

    python launch.py --config=configs/psol_folder.py --workdir=W --config.data.dir=PHOTOS

The boxes are in W/boxes (Parquet, CSV, COCO JSON, Label Studio, YOLO), each with its confidence, the probability that
it is right; they are the pseudo boxes or the localizer's, whichever are the more confident on photos not trained on.
W/report/index.html shows them. Nothing is downloaded: the pretrained networks are installed with pip. Some hundred
photos take minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base
from configs.psol_cub_fused import train_heads
from wsol_jax.recipes import fuse


def get_config() -> ConfigDict:
    """Return the recipe of configs/psol_cub_fused.py for a folder of photos, all of which are predicted."""
    config = base()
    config.stages = "pseudo_boxes,localizer,classifier,predict,boxes,evaluate,report"
    config.data.name = "folder"
    config.data.exact_decode = False  # photos of cameras are much larger than what a network sees
    fuse(config)
    train_heads(config)
    for training in (config.localizer, config.classifier):
        training.batch_size = 16  # some photos of each class are enough
    config.localizer.epochs, config.classifier.epochs = 60.0, 20.0
    config.predict.splits = "all"
    return config
