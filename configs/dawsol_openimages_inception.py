r"""DA-WSOL on OpenImages30k with InceptionV3, 28 x 28 cells, evaluated with masks.

    python launch.py --config=configs/dawsol_openimages_inception.py --workdir=W --config.data.dir=OpenImages \
        --config.train.weights=inception_v3.pth

inception_v3.pth is torchvision's; the photos are those of configs/cam_openimages.py. The paper (Table 2) has a piou of
48.01 and a pxap of 64.46; for CAM it has 47.30 and 62.66. The values are those of the published script; the paper gives
only those of ResNet-50. The keys that configs/dawsol_cub.py names apply here too. Ten epochs of the whole network: for
a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.dawsol_openimages import get_config as dawsol_openimages


def get_config() -> ConfigDict:
    """Return the configuration of OpenImages with InceptionV3's values."""
    config = dawsol_openimages()
    train = config.train
    train.arch, train.size, train.arch_kwargs.stride = "inception_v3", 224, 8
    train.weight_decay = 5e-4
    train.dawsol.update(domain_weight=0.1, universum_weight=0.5)
    return config
