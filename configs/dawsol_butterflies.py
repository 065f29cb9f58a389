"""DA-WSOL on butterflies, in 10 minutes on two CPU cores.

    python launch.py --config=configs/dawsol_butterflies.py --workdir=W --config.data.dir=../shared/data/butterflies

The recipe of configs/cam_butterflies.py with DA-WSOL's loss and no other change, so that the two can be compared. The
paper trains all layers, maps of 28 x 28 cells, and ten times as long. A quarter of the cells allows a quarter of the
samples: with 32, six photos of seven do not have enough pixels for the domain loss. The keys that
configs/dawsol_cub.py names apply here too.

Better boxes and masks, with the paper's anchors and BagCAM (docs/results.md); the second key also draws the maps of a
finished run anew, with --config.overwrite=True:
--config.train.dawsol.anchor_update=real --config.predict.maps=bagcam
"""

from ml_collections import ConfigDict

from configs.cam_butterflies import get_config as cam_butterflies


def get_config() -> ConfigDict:
    """Return CAM's short recipe, with the loss as on CUB except for the samples."""
    config = cam_butterflies()
    config.train.dawsol.update(use=True, domain_weight=0.3, universum_weight=2.0, samples=8)
    return config
