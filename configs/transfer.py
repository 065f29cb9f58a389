r"""A localizer trained on other photos predicts boxes on these, without fine-tuning, as Table 3 of the PSOL paper.

    python launch.py --config=configs/transfer.py --workdir=W --config.predict.localizer_from=RUN \
        --config.data.name=cub --config.data.dir=CUB_200_2011

RUN is the workdir of a PSOL run on any dataset. The metrics include those of DDT on these photos and of the best
centred box, for comparison. On two CPU cores DDT takes a second per photo, the localizer a tenth of that.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base


def get_config() -> ConfigDict:
    """Return a configuration without training: pseudo boxes, the other run's localizer, the metrics."""
    config = base()
    config.stages = "pseudo_boxes,predict,evaluate,report"
    return config
