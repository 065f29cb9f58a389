"""CAM on the first 25 classes of CUB-200-2011, in 22 minutes on two CPU cores.

    python launch.py --config=configs/cam_birds25.py --workdir=W --config.data.dir=../shared/data/birds25/CUB_200_2011

The recipe of configs/cam_butterflies.py.
"""

from ml_collections import ConfigDict

from configs.cam_butterflies import get_config as cam_butterflies


def get_config() -> ConfigDict:
    """Return the recipe for butterflies, on CUB's files."""
    config = cam_butterflies()
    config.data.name = "cub"
    return config
