"""CAM on the first 25 classes of CUB-200-2011, in 7 minutes of processor.

    python launch.py --config=configs/cam_birds25.py --workdir=W --config.data.dir=../shared/data/birds25/CUB_200_2011

The last convolution of EfficientNet-Lite0 and the classes are trained for four epochs on photos of 448 pixels, which
give 14 x 14 cells. The weights of the classes stay positive: with negative ones a map covers little more than what
distinguishes a bird from the other birds (docs/results.md). configs/cam_butterflies.py with --config.data.name=cub is
the recipe with ResNet-50. Tighter boxes and worse classes, in more than twice the time: --config.train.size=640
"""

from ml_collections import ConfigDict

from configs.cam_cub import get_config as cam_cub
from wsol_jax.recipes import LITE0


def get_config() -> ConfigDict:
    """Return a short recipe for few photos and few cores."""
    config = cam_cub()
    config.report.published = ""
    train = config.train
    train.arch, train.weights, train.size = "efficientnet_lite0", LITE0, 448
    train.arch_kwargs.stride = 32
    train.freeze = "blocks.6"
    train.cam.positive = True
    train.optimiser, train.learning_rate, train.schedule, train.weight_decay = "adamw", 1e-3, "cosine", 1e-2
    train.batch_size, train.epochs = 16, 4.0
    train.checkpoint_every = 50
    return config
