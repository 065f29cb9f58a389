"""PSOL on CUB-200-2011 with pseudo boxes of C2AM as published: the whole ResNet-50 is trained, for 20 epochs.

    python launch.py --config=configs/c2am_cub.py --workdir=W --config.data.dir=CUB_200_2011

For all of CUB its authors have GT-known Loc 93.4 and Top-1 Loc 76.4 with their PSOL stage; they chose the threshold on
the boxes of the test photos, here it is 0.5. For a GPU or TPU; configs/c2am_birds25.py is a recipe for two CPU cores.
"""

from ml_collections import ConfigDict

from configs.psol_cub import RESNET50
from configs.psol_cub import get_config as psol_cub


def get_config() -> ConfigDict:
    """Return configs/psol_cub.py with C2AM as the source of the pseudo boxes."""
    config = psol_cub()
    config.pseudo.source, config.pseudo.threshold = "c2am", "bilinear_paper"
    config.pseudo.c2am.arch, config.pseudo.c2am.weights = "resnet50_v1", RESNET50
    return config
