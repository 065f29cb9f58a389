r"""Pseudo boxes of C2AM on a frozen network, whose head is trained on kept features, for few CPU cores.

    python launch.py --config=configs/c2am_birds25.py --workdir=W --config.data.dir=CUB_200_2011

The recipe of configs/psol_cub_fused.py with another source of pseudo boxes. As one more view of its fused heat maps:

    python launch.py --config=configs/c2am_birds25.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.pseudo.source=ddt \
        --config.pseudo.views="{'l640': {'size': 640}, 'l448': {'size': 448}, 'c2am': {'source': 'c2am'}}"
"""

from ml_collections import ConfigDict

from configs.psol_cub_fused import get_config as psol_cub_fused
from wsol_jax.recipes import contrast


def get_config() -> ConfigDict:
    """Return configs/psol_cub_fused.py with C2AM as the source of the pseudo boxes."""
    config = psol_cub_fused()
    contrast(config)
    return config
