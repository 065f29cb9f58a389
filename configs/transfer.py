r"""A localizer trained on other photos draws boxes on these, without fine-tuning, as Table 3 of the PSOL paper.

    python launch.py --config=configs/transfer.py --workdir=W --config.predict.localizer_from=RUN \
        --config.data.name=cub --config.data.dir=CUB_200_2011

RUN is the workdir of a PSOL run on any dataset. DDT and the best centred box of these photos stand beside it, so that
one sees what knowing nothing and what looking at the photos would give. On two CPU cores DDT takes a second a photo,
the localizer a tenth of that.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base


def get_config() -> ConfigDict:
    """Nothing is trained: pseudo boxes for comparison, the other run's localizer, the numbers."""
    config = base()
    config.stages = "pseudo_boxes,predict,evaluate,report"
    return config
