r"""DA-WSOL on CUB-200-2011 with InceptionV3, 28 x 28 cells.

    python launch.py --config=configs/dawsol_cub_inception.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.train.weights=inception_v3.pth

inception_v3.pth is torchvision's. The paper has no numbers for it; the authors' repository reports a
max_box_acc_v2_iou50 of 80.03, a max_box_acc_v2 of 68.01, a piou of 51.81 and a pxap of 71.03, and with the classes of
another network (configs/two_stage.py) a top1_loc_map of 65.94. The values are those of its script: another learning
rate and weight decay, larger weights of the loss, and six epochs without it, none of which the paper gives. The keys
that configs/dawsol_cub.py names apply here too. 50 epochs of the whole network: for a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.cam_cub_inception import get_config as cam_cub_inception


def get_config() -> ConfigDict:
    """Return CAM's configuration for InceptionV3 with DA-WSOL's values and its loss."""
    config = cam_cub_inception()
    train = config.train
    train.learning_rate, train.weight_decay = 2e-3, 5e-4
    train.dawsol.update(use=True, domain_weight=1.4, universum_weight=4.0, start_epoch=5)
    return config
