"""`train.select`: the photos and the metric that choose the epoch whose network is used; never test photos."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.map_boxes import PARTS_OF_V2
from wsol_jax.stages import training
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.networks import LAST, make_method
from wsol_jax.stages.pseudo_from import with_pseudo_boxes
from wsol_jax.stages.work import Work, select_work
from wsol_jax.stages.workdir import network_folder
from wsol_jax.training.best_epoch import Select, make_select
from wsol_jax.training.log import SELECT, read_log

VAL, PSEUDO = "val", "pseudo"
OF_BOXES, OF_MASKS = ("max_box_acc", "max_box_acc_v2", *PARTS_OF_V2, "top1_loc_map"), ("pxap", "piou")
CHOICES = (LAST, *(f"{VAL}/{name}" for name in OF_BOXES + OF_MASKS), *(f"{PSEUDO}/{name}" for name in OF_BOXES))


def check_keys(config: ConfigDict) -> None:
    """Raise InputError for a value that is never valid."""
    checks.one_of(config, "select", CHOICES)
    if config.select.startswith(f"{PSEUDO}/") != bool(config.pseudo_from):
        raise InputError(
            f"select is {config.select!r} and pseudo_from is {config.pseudo_from!r}; expected '{PSEUDO}/NAME' with the "
            "workdir of a run or a .parquet file, or neither"
        )


def selecting_records(config: ConfigDict, context: Context) -> Sequence[Record]:
    """Return the photos that select, with the boxes that they select by; [] for the last network.

    They are the validation photos; with pseudo boxes, where there are none, the training photos.

    Args:
        config: the keys of `train`.
        context: of the stage.

    Raises:
        InputError: there are no such photos, or none has the boxes or masks that the metric needs.
    """
    kind, _, metric = config.select.partition("/")
    if kind == LAST:
        return []
    records = context.dataset.splits.get("val", [])
    if kind == PSEUDO:
        with checks.prefixed("pseudo_from: "):
            split = "val" if records else "train"
            return with_pseudo_boxes(config.pseudo_from, split, records or training_records(context))
    if not records:
        raise InputError(f"select is {config.select!r}, but there are no validation photos; expected a split 'val'")
    if not any(record.masks if metric in OF_MASKS else len(record.boxes) for record in records):
        needed = "mask" if metric in OF_MASKS else "true box"
        raise InputError(f"select is {config.select!r}, but no validation photo has a {needed}; expected some")
    return records


def select_of(config: ConfigDict, context: Context) -> Select | None:
    """Return the function that measures a network by `train.select`; None for the last network."""
    records = selecting_records(config, context)
    if not records:
        return None
    method, metric = make_method("train", config, len(context.dataset.classes)), config.select.partition("/")[2]
    return make_select(method, records, metric, config, context.dataset, context.mesh)


def work(config: ConfigDict, context: Context) -> list[Work]:
    """Return the predictions that select, of all epochs; [] for the last network."""
    records = selecting_records(config, context)
    done = len(read_log(network_folder(context.workdir, "train"), SELECT))
    return [select_work(config, records, context, math.ceil(config.epochs), done)] if records else []


def extends(was: Mapping[str, Any], now: Mapping[str, Any], context: Context) -> str | None:
    """Return '' if a training continues from one of fewer epochs to what it would be with all of them; see `Stage`."""
    obstacle = training.extends(was, now, context)
    if obstacle == "" and "select" in now and was["epochs"] % 1:
        return f"its {was['epochs']} epochs ended, and were measured for select, in the middle of one"
    return obstacle
