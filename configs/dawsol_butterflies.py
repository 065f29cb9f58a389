"""DA-WSOL on butterflies, in minutes on two CPU cores, beside configs/cam_butterflies.py.

    python launch.py --config=configs/dawsol_butterflies.py --workdir=W --config.data.dir=../shared/data/butterflies

CAM's short recipe with DA-WSOL's loss and nothing else changed, so that the two can be compared. The paper trains all
layers, maps of 28 x 28 cells, and ten times as long. A quarter of the cells allows a quarter of the samples: with 32,
six photos of seven have no pixels for the domain loss. The keys of configs/dawsol_cub.py are here too.
"""

from ml_collections import ConfigDict

from configs.cam_butterflies import get_config as cam_butterflies


def get_config() -> ConfigDict:
    """CAM's short recipe, with the loss as on CUB but for the samples."""
    config = cam_butterflies()
    config.train.dawsol.update(use=True, domain_weight=0.3, universum_weight=2.0, samples=8)
    return config
