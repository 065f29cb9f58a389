r"""DA-WSOL on ImageNet-1k with InceptionV3, 28 x 28 cells.

    python launch.py --config=configs/dawsol_ilsvrc_inception.py --workdir=W --config.data.dir=D \
        --config.data.imagenet.boxes=XML --config.train.weights=inception_v3.pth

D and XML are as in configs/psol_imagenet.py; inception_v3.pth is torchvision's. The paper has no numbers for it; the
authors' repository reports a max_box_acc_v2_iou50 of 69.11, a max_box_acc_v2 of 64.75 and, with the classes of another
network (--config.predict.classes_from, see configs/two_stage.py), a top1_loc_map of 52.70. The values are those of its
script; the paper gives none of them. The keys that configs/dawsol_cub.py names apply here too. Ten epochs of the whole
network on 1.28 million photos: for an accelerator, or several.
"""

from ml_collections import ConfigDict

from configs.dawsol_ilsvrc import get_config as dawsol_ilsvrc


def get_config() -> ConfigDict:
    """Return ImageNet's configuration with InceptionV3's values."""
    config = dawsol_ilsvrc()
    train = config.train
    train.arch, train.size = "inception_v3", 224
    train.learning_rate, train.weight_decay = 1e-3, 5e-4
    train.dawsol.update(domain_weight=0.1, universum_weight=0.3)
    return config
