"""Whether the values of a configuration make sense, told in one line before anything begins."""

import math
from collections.abc import Collection
from functools import reduce

from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES
from wsol_jax.data import DATASETS
from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.dawsol import DOMAIN_LOSSES
from wsol_jax.methods.target_samples import ANCHOR_ORDERS, ANCHOR_UPDATES
from wsol_jax.pseudo.ddt import SIGN_RULES

TRAINED = ("localizer", "classifier", "joint", "train")
NETWORKS = ("pseudo", *TRAINED)


def _each(parts: Collection[str], *keys: str) -> list[str]:
    return [f"{part}.{key}" for part in parts for key in keys]


CHOICES: dict[str, Collection[str]] = {
    "data.name": DATASETS,
    "data.on_error": ("skip", "stop"),
    "pseudo.group": ("class", "dataset"),
    "pseudo.sign": SIGN_RULES,
    "pseudo.threshold": ("nearest_code", "bilinear_paper"),
    "predict.test_geometry": ("center_crop", "resize"),
    "report.published": ("", "cub", "ilsvrc", "openimages"),
    **dict.fromkeys(_each(NETWORKS, "arch"), BACKBONES),
    **dict.fromkeys(_each(NETWORKS, "dtype"), ("float32", "bfloat16")),
    **dict.fromkeys(_each(TRAINED, "augment"), ("psol", "wsol", "none")),
    **dict.fromkeys(_each(TRAINED, "trainable"), ("all", "head")),
    "train.method": METHODS,
    "train.dawsol.domain_loss": DOMAIN_LOSSES,
    "train.dawsol.universum": ("mean", "sum"),
    "train.dawsol.anchor_order": ANCHOR_ORDERS,
    "train.dawsol.anchor_update": ANCHOR_UPDATES,
}
BATCH_SIZES = _each((*NETWORKS, "predict"), "batch_size")
POSITIVE = [
    *BATCH_SIZES,
    "pseudo.size",
    *_each(TRAINED, "epochs", "learning_rate", "decay_factor", "checkpoint_every", "log_every"),
    *_each(("localizer", "joint"), "box_weight"),
    "joint.class_weight",
    "train.has.cell",
    "train.cutmix.beta",
    "train.dawsol.samples",
    "train.dawsol.gamma",
    "ablation.turns",
    "evaluate.resamples",
    "evaluate.map_size",
    "evaluate.threshold_step",
    "maps.size",
]
NOT_NEGATIVE = [
    "seed",
    "data.val_per_class",
    "pseudo.max_bytes",
    *_each(TRAINED, "size", "decay_every", "decay_early", "momentum", "weight_decay", "new_rate"),
    *_each(("train.dawsol",), "domain_weight", "universum_weight", "anchor_offset", "domain_rate"),
    "train.watch",
    "report.photos",
]
FRACTIONS = [
    "pseudo.cam_threshold",
    "train.has.rate",
    "train.acol.threshold",
    *_each(("train.spg",), "high_b2", "low_b2", "high_b1", "low_b1", "high_c", "low_c"),
    *_each(("train.adl",), "rate", "threshold"),
    "train.cutmix.probability",
    "predict.box_threshold",
]
OTHERS = [
    "stages",
    "overwrite",
    "data.dir",
    *_each(NETWORKS, "weights", "arch_kwargs"),
    *_each(("pseudo",), "source", "cam_from", "layer"),
    *_each(TRAINED, "freeze", "new_from", "nesterov"),
    *_each(("classifier", "joint", "train"), "new_head"),
    "ablation.losses",
    *_each(("combine",), "split", "boxes", "classes"),
    *_each(("predict",), "splits", "ten_crop", "localizer_from", "boxes_from", "classes_from"),
    *_each(("predict",), "grad_cam_from", "grad_cam_stage"),
    *_each(("maps",), "dir", "splits", "prefix"),
    "train.grad_cam.stage",
    *_each(("train.dawsol",), "use", "assigner", "start_epoch"),
    "report.beside",
]


def check_values(config: ConfigDict, devices: int) -> None:
    """Check that every key is there, and the values of those that have few right ones.

    What depends on the photos, on files or on a network's stages is for the stages to check; what only one kind of
    dataset reads, for its reader.

    Args:
        config: as a file of configs/ returns it.
        devices: how many share a batch.

    Raises:
        InputError: a key is missing, or its value is none of the right ones: both are named, with what was expected.
    """
    for key in OTHERS:
        value_of(config, key)
    for key, allowed in CHOICES.items():
        _require(config, key, value_of(config, key) in allowed, f"one of {', '.join(allowed)}")
    source = value_of(config, "pseudo.source")
    known = source in ("ddt", "cam", "truth") or source.endswith(".parquet")
    _require(config, "pseudo.source", known, "ddt, cam, truth or a file that ends in .parquet")
    for key in POSITIVE:
        _require(config, key, 0 < value_of(config, key) < math.inf, "a positive number")
    begins = value_of(config, "train.dawsol.start_epoch")
    _require(config, "train.dawsol.start_epoch", -1 <= begins < math.inf, "a number from -1, the first step, on")
    for key in NOT_NEGATIVE:
        _require(config, key, 0 <= value_of(config, key) < math.inf, "0 or a positive number")
    for key in FRACTIONS:
        _require(config, key, 0 <= value_of(config, key) <= 1, "a number from 0 to 1")
    for key in BATCH_SIZES:
        _require(config, key, value_of(config, key) % devices == 0, f"a multiple of the {devices} devices")


def value_of(config: ConfigDict, key: str) -> object:
    """The value of 'localizer.epochs' and the like.

    Raises:
        InputError: there is no such key.
    """
    try:
        return reduce(lambda part, name: part[name], key.split("."), config)
    except (KeyError, TypeError) as error:
        raise InputError(f"the configuration lacks the key {key}; configs/base.py has every one") from error


def _require(config: ConfigDict, key: str, right: bool, expected: str) -> None:
    if not right:
        raise InputError(f"--config.{key} is {value_of(config, key)!r}; expected {expected}")
