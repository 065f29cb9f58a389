"""The stage `localizer` (PSOL, Algorithm 1, step 2): a network that regresses the pseudo boxes, without labels."""

from functools import partial

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.stages import training
from wsol_jax.stages.context import Context
from wsol_jax.stages.stage import Stage


def defaults() -> ConfigDict:
    """Return the keys of `localizer` with their defaults."""
    return training.defaults(
        box_weight=50.0,  # of the mean squared error (code; the paper gives none)
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    training.check_keys(config, devices)
    checks.positive(config, "box_weight")


def run(config: ConfigDict, context: Context) -> None:
    """Train the localizer."""
    training.train_stage("localizer", training.boxes_to_learn(context), config, context)


STAGE = Stage(
    key="localizer",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes",),
    outputs=("localizer",),
    run=run,
    check=partial(training.check_training, "localizer"),
    files=training.weight_files,
)
