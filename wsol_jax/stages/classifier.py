"""The stage `classifier` (PSOL, Algorithm 1, step 3): a network that predicts the class, without boxes."""

from functools import partial

from ml_collections import ConfigDict

from wsol_jax.stages import training
from wsol_jax.stages.context import Context
from wsol_jax.stages.stage import Stage


def defaults() -> ConfigDict:
    """Return the keys of `classifier` with their defaults."""
    return training.defaults(
        decay_every=2.0,  # (CUB: 10)
    )


def run(config: ConfigDict, context: Context) -> None:
    """Train the classifier."""
    training.train_stage("classifier", None, config, context)


STAGE = Stage(
    key="classifier",
    defaults=defaults,
    check_keys=training.check_keys,
    outputs=("classifier",),
    run=run,
    check=partial(training.check_training, "classifier"),
    files=training.weight_files,
    without_effect=training.WITHOUT_EFFECT,
    extends=training.extends,
    work=partial(training.work, "classifier"),
    together=True,
)
