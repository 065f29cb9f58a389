"""DA-WSOL's ablation (its Tables 3 and 4): a run with each of its parts, their metrics and times in one table."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from wsol_jax.config import check_config
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.runs.run import carry_out, held, plan
from wsol_jax.runs.timing import Times, measure
from wsol_jax.stages.networks import trained
from wsol_jax.stages.result_table import write_table

STAGES = "train,predict,evaluate"
METRICS = ("max_box_acc_v2", "max_box_acc_v2_iou50", "pxap", "piou", "top1_cls", "top1_loc_map")
LOSSES = {"mmd": "mmd_linear", "dann": "dann"}
PLAIN_LOSSES = {"mmd": "mmd_quadratic", "dann": "dann"}  # of different numbers of pooled features and pixels
PLAIN = (
    "L_d without TSA, which the paper leaves open: the pooled features of a batch's photos against {samples} pixels of "
    "each photo drawn uniformly, by the quadratic MMD or the domain classifier. "
)
TIMED = (
    "Milliseconds are per image, of the network alone and not of reading photos, on {devices} x {kind}: medians of "
    "{turns} training steps of {train} photos and as many predictions of {test}, for which the rows took turns with "
    "their trained states; ratios are medians of each turn's ratio to {first}. The row without L_d computes it all "
    "the same and weighs it with 0. "
)


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        losses: its parts, in words.
        config: of its run.
    """

    losses: str
    config: ConfigDict


def run(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Run every row in a folder of its own, and write table.md and table.parquet after each, with times at the end.

    All rows are checked before the first starts. A finished row is skipped, one that was cut off continues; the times
    are measured anew.

    Args:
        config: as configs/dawsol_ablation.py returns it: any of DA-WSOL's.
        workdir: where all results are written; created if it does not exist.

    Returns:
        The contents of the rows' metrics.json, as ROW/NAME.

    Raises:
        InputError: as `run.run`, or there is no such loss.
    """
    workdir = to_path(workdir)
    check_config(config, jax.device_count())
    with held(workdir):
        return _run(config, workdir)


def _run(config: ConfigDict, workdir: Path) -> dict[str, float]:
    plans = {}
    for name, row in rows(config).items():
        photos = next(iter(plans.values())).dataset if plans else None
        plans[name] = plan(row.config, workdir / name, photos)
    metrics = {}
    for name, of_row in plans.items():
        metrics[name] = carry_out(of_row)
        write(workdir, config, metrics)
    networks = {name: trained("train", of_row.config.train, of_row.workdir) for name, of_row in plans.items()}
    context = plans[config.train.method].contexts["train"]
    write(workdir, config, metrics, measure(networks, config.predict, context, config.ablation.turns))
    return {f"{row}/{name}": value for row, values in metrics.items() for name, value in values.items()}


def rows(config: ConfigDict) -> dict[str, Row]:
    """Return the rows in their order: the method alone, and with part after part of DA-WSOL.

    Raises:
        InputError: `ablation.losses` names no such loss.
    """
    named = [name.strip() for name in config.ablation.losses.split(",") if name.strip()]
    if not set(named) <= set(LOSSES):
        raise InputError(f"--config.ablation.losses is {config.ablation.losses!r}; expected some of {','.join(LOSSES)}")
    losses = [name for name in LOSSES if name in named]

    def row(parts: str, **keys: object) -> Row:
        changed = config.copy_and_resolve_references()
        changed.stages = STAGES
        changed.train.dawsol.update(keys)
        return Row(parts, changed)

    plain = {"use": True, "assigner": False, "universum_weight": 0.0}
    full = {"use": True, "assigner": True}
    table_rows = {config.train.method: row("L_c", use=False)}
    for loss in losses:
        table_rows[f"{loss}_plain"] = row("L_c + L_d", domain_loss=PLAIN_LOSSES[loss], **plain)
    for loss in losses:
        table_rows[f"{loss}_tsa"] = row("L_c + L_d + TSA", domain_loss=LOSSES[loss], universum_weight=0.0, **full)
    table_rows["universum"] = row("L_c + L_u + TSA", domain_loss="mmd_linear", domain_weight=0.0, **full)
    return table_rows | {loss: row("L_c + L_d + L_u + TSA", domain_loss=LOSSES[loss], **full) for loss in losses}


def write(
    workdir: Path,
    config: ConfigDict,
    metrics: Mapping[str, Mapping[str, float]],
    times: Mapping[str, Times] | None = None,
) -> None:
    """Write table.md and table.parquet.

    Args:
        workdir: where.
        config: of the ablation.
        metrics: row -> the contents of its metrics.json; rows that are not finished are not there.
        times: of all rows; None while they are not measured.
    """
    table, of_row = [], rows(config)
    for name, values in metrics.items():
        line = {"row": name, "losses": of_row[name].losses}
        line |= {metric: values[metric] for metric in METRICS if metric in values}
        table.append(line | (_costs(times[name], times[config.train.method]) if times else {}))
    write_table(workdir, table, f"\n{_notes(config, bool(times)).strip()}\n")


def _costs(times: Times, first: Times) -> dict[str, float]:
    return {
        "train_ms": float(np.median(times.train)),
        "train_ratio": float(np.median(times.train / first.train)),
        "test_ms": float(np.median(times.test)),
        "test_ratio": float(np.median(times.test / first.test)),
    }


def _notes(config: ConfigDict, timed: bool) -> str:
    """The conditions under which the numbers were measured."""
    text = PLAIN.format(samples=config.train.dawsol.samples)
    if timed:
        text += TIMED.format(
            devices=jax.device_count(),
            kind=jax.devices()[0].device_kind,
            turns=config.ablation.turns,
            train=config.train.batch_size,
            test=config.predict.batch_size,
            first=config.train.method,
        )
    return text
