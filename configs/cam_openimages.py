r"""CAM on OpenImages30k, ResNet-50 with 14 x 14 cells, evaluated with masks.

    python launch.py --config=configs/cam_openimages.py --workdir=W --config.data.dir=OpenImages \
        --config.train.weights=resnet50.pth

resnet50.pth is torchvision's. OpenImages holds images/, masks/ and metadata/{train,val,test}/ as wsolevaluation
downloads them. The values are those of DA-WSOL's published script for OpenImages and ResNet-50, those of the methods
the defaults of its code; wsolevaluation reports a PxAP of 58.5 for CAM. For VGG16 the code has a learning rate of
0.00227913316 and a weight decay of 5e-4. Ten epochs of the whole network: for a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub


def get_config() -> ConfigDict:
    """Return CUB's configuration with the values of OpenImages."""
    config = cam_cub()
    config.data.name = "lists"
    config.data.lists.update(val="metadata/val", masks="localization.txt", mask_dir="masks")
    config.predict.splits = "val,test"  # the thresholds of val are tried on test
    config.report.published = "openimages"
    train = config.train
    train.arch_kwargs.stride = 16
    train.epochs, train.decay_every = 10.0, 3.0
    train.has.update(cell=111, rate=0.19)
    train.acol.threshold = 0.57
    train.spg.update(high_b2=0.41, low_b2=0.35, high_b1=0.24, low_b1=0.21, high_c=0.12, low_c=0.06)
    train.adl.update(rate=0.59, threshold=0.99)
    train.cutmix.update(probability=0.34, beta=1.35)
    return config
