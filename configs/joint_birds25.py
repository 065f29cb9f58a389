"""-Joint on the first 25 classes of CUB-200-2011: one network for boxes and classes instead of two.

    python launch.py --config=configs/joint_birds25.py --workdir=W --config.data.dir=../shared/data/birds25/CUB_200_2011

Takes less than the 90 minutes of configs/psol_birds25_pooled.py on two CPU cores. The paper's claim is that -Sep is
better. For a comparison, train the two networks of -Sep with the same recipe:

    --config.stages=pseudo_boxes,localizer,classifier,predict,evaluate,report

On all of CUB, --config=configs/psol_cub.py --config.stages=pseudo_boxes,joint,predict,evaluate,report.
"""

from ml_collections import ConfigDict

from configs.psol_cub import get_config as psol_cub


def get_config() -> ConfigDict:
    """Return the same short recipe for the joint network and for the two separate ones."""
    config = psol_cub()
    config.stages = "pseudo_boxes,joint,predict,evaluate,report"
    for training in (config.joint, config.localizer, config.classifier):
        training.freeze = "layer3"
        training.batch_size = 32
        training.epochs = 10.0
        training.learning_rate = 3e-3
        training.decay_every = 8.0
        training.checkpoint_every = 100
    return config
