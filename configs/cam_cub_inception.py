r"""CAM on CUB-200-2011 with InceptionV3, cut at Mixed_6e, two convolutions added, 28 x 28 cells.

    python launch.py --config=configs/cam_cub_inception.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.train.weights=inception_v3.pth

inception_v3.pth is torchvision's. The learning rate is wsolevaluation's, which its authors gave in issue 38 of their
repository; it reports a MaxBoxAccV2 of 56.7. Its code normalises InceptionV3's photos as for ResNet; here they are
normalised as the weights expect. 50 epochs of the whole network: for a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub


def get_config() -> ConfigDict:
    """Return CUB's configuration with InceptionV3's values."""
    config = cam_cub()
    train = config.train
    train.arch, train.size = "inception_v3", 224
    train.learning_rate = 2.24844746e-3
    return config
