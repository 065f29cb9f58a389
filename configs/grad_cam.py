r"""Grad-CAM of the classifier of a PSOL run, at any of its stages.

    python launch.py --config=configs/grad_cam.py --workdir=W --config.predict.grad_cam_from=RUN \
        --config.data.name=cub --config.data.dir=CUB_200_2011 --config.predict.grad_cam_stage=layer3

Nothing is trained; a photo takes one forward and one backward pass. Maps, boxes and metrics are those of a score-map
run.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base


def get_config() -> ConfigDict:
    """Return maps of another run's classifier."""
    config = base()
    config.stages = "predict,evaluate,report"
    config.predict.test_geometry = "resize"
    return config
