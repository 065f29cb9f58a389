"""PSOL with fused pseudo boxes and a localizer of masks on the first 25 classes of CUB-200-2011, in about 12 minutes.

    python launch.py --config=configs/psol_birds25.py --workdir=W --config.data.dir=CUB_200_2011

On two CPU cores, with the recipe of configs/psol_cub_fused.py; configs/psol_birds25_pooled.py is the paper's, in 90
minutes.
"""

from ml_collections import ConfigDict

from configs.psol_cub_fused import get_config as psol_cub_fused


def get_config() -> ConfigDict:
    """Return the recipe of configs/psol_cub_fused.py."""
    return psol_cub_fused()
