"""DA-WSOL on butterflies, in minutes on two CPU cores, beside configs/cam_butterflies.py.

    python launch.py --config=configs/dawsol_butterflies.py --workdir=W --config.data.dir=../shared/data/butterflies

CAM's short recipe with DA-WSOL's loss and nothing else changed, so that the two can be compared. The paper trains all
layers, maps of 28 x 28 cells, and ten times as long. The keys of configs/dawsol_cub.py are here too.
"""

from ml_collections import ConfigDict

from configs.cam_butterflies import get_config as cam_butterflies


def get_config() -> ConfigDict:
    """CAM's short recipe, with the weights of the loss that CUB has."""
    config = cam_butterflies()
    config.train.dawsol.update(use=True, domain_weight=0.3, universum_weight=2.0)
    return config
