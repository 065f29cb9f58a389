"""The stage `joint` (PSOL, section 3.2.2): localizer and classifier in one network, in place of both."""

from functools import partial

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.stages import training
from wsol_jax.stages.context import Context
from wsol_jax.stages.stage import Stage


def defaults() -> ConfigDict:
    """Return the keys of `joint` with their defaults."""
    return training.defaults(
        decay_every=2.0,  # (CUB: 10)
        class_weight=1.0,  # of the cross-entropy; the paper does not give the weights of the two losses
        box_weight=50.0,  # of the mean squared error
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    training.check_keys(config, devices)
    checks.positive(config, "class_weight", "box_weight")


def run(config: ConfigDict, context: Context) -> None:
    """Train the network of boxes and classes."""
    training.train_stage("joint", training.boxes_to_learn(context), config, context)


STAGE = Stage(
    key="joint",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes",),
    outputs=("joint",),
    run=run,
    check=partial(training.check_training, "joint"),
    files=training.weight_files,
    without_effect=training.WITHOUT_EFFECT,
    extends=training.extends,
    work=partial(training.work, "joint"),
    together=True,
)
