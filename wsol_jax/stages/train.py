"""The stage `train`: a classifier whose score maps localize, by any method of METHODS, with or without DA-WSOL."""

from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.methods import METHODS
from wsol_jax.methods.dawsol import keys as dawsol_keys
from wsol_jax.stages import pseudo_from, selection, training
from wsol_jax.stages.context import Context
from wsol_jax.stages.networks import make_method
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.work import Work
from wsol_jax.training.watch import make_watch, watched


def defaults() -> ConfigDict:
    """Return the keys of `train` with their defaults: wsolevaluation's and DA-WSOL's common values."""
    keys = training.defaults(
        arch_kwargs=ConfigDict(dict(stride=16)),  # 14 x 14 cells of 224 pixels; 8: 28 x 28
        batch_size=32,
        epochs=50.0,
        decay_every=30.0,
        decay_early=1.0,
        nesterov=True,
        weight_decay=1e-4,
        new_rate=10.0,  # (wsolevaluation: 1 for ACoL's and SPG's heads on ResNet)
        augment="wsol",
        method="cam",  # a name in wsol_jax.methods.METHODS
        watch=0,  # photos with masks on which domain gap and target samples are measured every epoch; 0: none
        # the epoch whose network is used: the 'last', or the best by a metric of score maps, 'val/NAME' on validation
        # photos, 'pseudo/NAME' by pseudo boxes of these or else of the training photos
        select="last",
        pseudo_from="",  # 'pseudo/NAME': the workdir of a run with pseudo boxes of these photos, or a .parquet file
    )
    for name, entry in METHODS.items():
        if entry.defaults:
            keys[name] = ConfigDict(dict(entry.defaults))
    keys.dawsol = ConfigDict(dawsol_keys.DEFAULTS)
    return keys


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    training.check_keys(config, devices)
    checks.one_of(config, "method", METHODS)
    checks.not_negative(config, "watch")
    selection.check_keys(config)
    for name, entry in METHODS.items():
        if entry.defaults:
            with checks.prefixed(f"{name}."):
                entry.check_keys(config[name])
    with checks.prefixed("dawsol."):
        dawsol_keys.check_keys(config.dawsol)


def run(config: ConfigDict, context: Context) -> None:
    """Train the network of score maps."""
    watch, records = None, watched(config.watch, context.dataset)
    if records:
        method = make_method("train", config, len(context.dataset.classes))
        watch = make_watch(method, records, config, context.dataset, context.seed, context.mesh)
    training.train_stage("train", None, config, context, watch, selection.select_of(config, context))


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if photos, masks, network or weights do not allow the training."""
    watched(config.watch, context.dataset)
    selection.selecting_records(config, context)
    training.check_training("train", config, context)


def work(config: ConfigDict, context: Context) -> list[Work]:
    """Return the training and the predictions that select, see `Stage`."""
    return training.work("train", config, context) + selection.work(config, context)


def files(config: ConfigDict) -> dict[str, Path]:
    """Return the files that the stage reads, by name: its weights and the pseudo boxes that select."""
    return training.weight_files(config) | pseudo_from.files(config.pseudo_from)


STAGE = Stage(
    key="train",
    defaults=defaults,
    check_keys=check_keys,
    outputs=("model",),
    run=run,
    check=check,
    files=files,
    without_effect=training.WITHOUT_EFFECT,
    neutral={"select": "last", "pseudo_from": "", "cam": {"positive": False}},
    extends=selection.extends,
    work=work,
    together=True,
)
