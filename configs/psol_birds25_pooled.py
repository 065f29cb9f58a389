"""The paper's PSOL on the first 25 classes of CUB-200-2011 in about 90 minutes on two CPU cores.

    python launch.py --config=configs/psol_birds25_pooled.py --workdir=W --config.data.dir=CUB_200_2011

The recipe of configs/psol_cub.py for few photos and few cores: the early stages of the localizer are frozen, its
batches are smaller and its steps more, and only the head of the classifier is trained.
"""

from ml_collections import ConfigDict

from configs.psol_cub import get_config as psol_cub


def get_config() -> ConfigDict:
    """Return CUB's configuration with a recipe for few photos and few cores."""
    config = psol_cub()
    config.report.published = ""  # its numbers are of all 200 classes
    localizer, classifier = config.localizer, config.classifier
    localizer.freeze = "layer2"
    localizer.batch_size = 32
    localizer.epochs = 20.0
    localizer.learning_rate = 3e-3
    localizer.decay_every = 16.0
    localizer.checkpoint_every = 100
    classifier.freeze = "layer4"
    classifier.epochs = 8.0
    classifier.learning_rate = 3e-2
    classifier.decay_every = 6.0
    classifier.checkpoint_every = 50
    return config
