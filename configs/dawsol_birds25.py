r"""DA-WSOL on the first 25 classes of CUB-200-2011, in minutes on two CPU cores.

    python launch.py --config=configs/dawsol_birds25.py --workdir=W \
        --config.data.dir=../shared/data/birds25/CUB_200_2011

The recipe of configs/cam_birds25.py with DA-WSOL's loss and no other change, in about the same time; see
configs/dawsol_butterflies.py, which with --config.data.name=cub is the recipe with ResNet-50. Better boxes with the
paper's anchors, --config.train.dawsol.anchor_update=real; tighter ones and worse classes, in more than twice the time,
where CAM alone is as good (docs/results.md): --config.train.size=640 --config.train.dawsol.samples=16
"""

from ml_collections import ConfigDict

from configs.cam_birds25 import get_config as cam_birds25


def get_config() -> ConfigDict:
    """Return CAM's short recipe, with the loss as on CUB except for the samples."""
    config = cam_birds25()
    config.train.dawsol.update(use=True, domain_weight=0.3, universum_weight=2.0, samples=8)
    return config
