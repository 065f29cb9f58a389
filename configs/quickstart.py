"""The whole of PSOL on generated scenes, in a few minutes on two CPU cores.

    python launch.py --config=configs/quickstart.py --workdir=runs/quickstart

Nothing is downloaded: the scenes are generated, and the pretrained networks are installed with pip.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base
from configs.psol_cub_fused import train_heads


def get_config() -> ConfigDict:
    """Return a recipe for scenes: one view, VGG16 at their own size, and a classifier whose last stages are trained."""
    config = base()
    config.stages = "pseudo_boxes,localizer,classifier,predict,boxes,evaluate,report"
    config.pseudo.size = 224
    config.pseudo.layer = "relu5_3"  # 14 x 14 cells at 224, as pool5 has at 448
    config.pseudo.threshold_levels = (-0.1, 0.0, 0.1, 0.2, 0.3)
    train_heads(config)
    config.localizer.batch_size = 32
    classifier = config.classifier
    classifier.freeze, classifier.size, classifier.batch_size = "blocks.4", 128, 16  # scenes are not ImageNet
    classifier.optimiser, classifier.schedule, classifier.new_rate, classifier.augment = "sgd", "steps", 2.0, "psol"
    classifier.epochs, classifier.learning_rate, classifier.decay_every = 12.0, 5e-3, 8.0
    config.predict.splits = "all"
    config.predict.batch_size = 40
    config.report.photos = 40
    return config
