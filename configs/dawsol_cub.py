r"""DA-WSOL (Zhu et al., CVPR 2022) on CUB-200-2011: CAM on ResNet-50 with 28 x 28 cells, and its loss on top.

    python launch.py --config=configs/dawsol_cub.py --workdir=W --config.data.dir=CUB_200_2011 \
        --config.train.weights=resnet50.pth

resnet50.pth is torchvision's. The paper (Table 1) has a max_box_acc_v2_iou50, which it calls GT-known, of 81.83, a
max_box_acc_v2 of 69.87, a top1_loc_map of 62.40 and, with the masks of segmentations/, a piou of 56.18 and a pxap of
74.70; for CAM it has 72.47, 68.28, 65.80, 47.60 and 66.78. Variants:

    --config.train.dawsol.domain_loss=dann     a domain classifier in place of MMD
    --config.train.method=has                  or cutmix, or adl: the method below the loss
    --config.train.dawsol.domain_loss=mmd_quadratic     the paper's Eq. 9
    --config.train.dawsol.universum=sum        its Eq. 4; with its lambda_2 of 2 the training diverges, see below

The values are those of the published script, which are the paper's. Where its code differs from the paper, this is the
code: the first epoch is without the loss; MMD is the estimator of linear time; the Universum term is a mean, for which
lambda_2 was chosen (a sum over pixels and channels is millions of times as large); a class's anchor follows the cluster
that began at the photo's mean (anchor_update=real: its own) and begins without an offset (anchor_offset); 32 samples
are that mean and 31 pixels, photos with fewer are left out; the learning rate is divided one epoch early
(--config.train.decay_early=0: after 30); the momentum is Nesterov's. One difference from the code: all photos of a
batch start from the same anchors, which scales to several devices (anchor_order=sequential: one after the other).
The whole network is trained for 50 epochs: for a GPU or TPU; configs/dawsol_birds25.py is for two CPU cores.
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub


def get_config() -> ConfigDict:
    """Return CAM's configuration, whose values are DA-WSOL's, with its loss."""
    config = cam_cub()
    config.train.dawsol.update(use=True, domain_weight=0.3, universum_weight=2.0, start_epoch=0)
    return config
