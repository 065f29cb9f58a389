"""What a run amounts to: metrics.json and curves.json."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import maps
from wsol_jax.context import Context
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation.center_box import best_center_box
from wsol_jax.evaluation.direct_boxes import compute, hits, intervals, measure
from wsol_jax.files import write_atomically
from wsol_jax.predictions import join
from wsol_jax.pseudo.stage import boxes_file
from wsol_jax.tables import Predictions, read_predictions

OURS, PSEUDO, CENTER_BOX = "localizer", "pseudo", "center_box"
MAPS, CENTER_GAUSSIAN = "maps", "center_gaussian"
MAP_METRICS = ("max_box_acc", "max_box_acc_v2", "top1_loc_map", "pxap", "piou")


def boxes_by_source(workdir: Path, dataset: Dataset, split: str) -> dict[str, Predictions]:
    """Everything that draws a box on the photos of a split: the localizer, the pseudo boxes, the best centred box.

    Each is joined with the classes that were predicted, as the paper does for DDT (Table 2).
    """
    records = dataset.splits[split]
    sources: dict[str, Predictions] = {}
    predicted = workdir / "predictions" / f"{split}.parquet"
    if predicted.exists():
        sources[OURS] = read_predictions(predicted, records)
    classes = sources.get(OURS)
    pseudo = boxes_file(workdir / "pseudo_boxes", split)
    if pseudo.exists():
        sources[PSEUDO] = join(read_predictions(pseudo, records, ("box",)), classes)
    if any(len(record.boxes) for record in records):
        box, _ = best_center_box(records)
        sources[CENTER_BOX] = join(Predictions(box=np.tile(box, (len(records), 1))), classes)
    return sources


def evaluate(config: ConfigDict, context: Context) -> None:
    """Writes metrics.json: each source of boxes and of maps on each split, and curves.json: the maps' thresholds."""
    metrics = _of_boxes(config, context)
    of_maps, curves = _of_maps(config, context)
    for name, values in (("metrics.json", metrics | of_maps), ("curves.json", curves)):
        text = json.dumps(values, indent=2 if name == "metrics.json" else None, sort_keys=True)
        write_atomically(context.workdir / name, lambda file, text=text: file.write(text.encode()))


def _prefix(source: str, split: str) -> str:
    return ("" if source in (OURS, MAPS) else f"{source}/") + ("" if split == "test" else f"{split}/")


def _of_boxes(config: ConfigDict, context: Context) -> dict[str, float]:
    """The numbers of one box a photo, under both protocols, with intervals."""
    metrics: dict[str, float] = {}
    for split, records in context.dataset.splits.items():
        for source, predictions in boxes_by_source(context.workdir, context.dataset, split).items():
            results = measure(records, predictions)
            numbers = compute(results)
            if told := [f"{name} {numbers[name]:.2f}" for name in hits(results)]:
                logging.info("%s, %s: %s", source, split, ", ".join(told))
            numbers |= intervals(results, context.seed, config.resamples)
            metrics |= {_prefix(source, split) + name: value for name, value in numbers.items()}
    return metrics


def _of_maps(config: ConfigDict, context: Context) -> tuple[dict[str, float], dict[str, list]]:
    """The numbers of maps, and their curves; the thresholds of 'val' are tried on the other splits."""
    metrics, curves, validated = {}, {}, {}
    found, dataset, step = maps.sources(context, config.map_size), context.dataset, config.threshold_step
    for split in sorted(found, key=lambda split: split != "val"):
        records = dataset.splits[split]
        if not any(len(record.boxes) or record.masks for record in records):
            continue
        gaussian, right = maps.center_gaussian(config.map_size), _top1(context.workdir, records, split)
        for source, of_record in ((MAPS, found[split]), (CENTER_GAUSSIAN, lambda _, gaussian=gaussian: gaussian)):
            results = maps.measure(f"{source}, {split}", dataset, records, of_record, right, config)
            numbers = maps.numbers(results, step)
            if split == "val":
                validated[source] = numbers
            elif source in validated:
                numbers |= maps.numbers_at(results, validated[source], step)
            told = [f"{name} {numbers[name]:.2f}" for name in MAP_METRICS if name in numbers]
            logging.info("%s, %s: %s", source, split, ", ".join(told))
            metrics |= {_prefix(source, split) + name: value for name, value in numbers.items()}
            curves |= {_prefix(source, split) + name: xy for name, xy in maps.curves(results, step).items()}
    return metrics, curves


def _top1(workdir: Path, records: Sequence[Record], split: str) -> np.ndarray:
    """Whether the likeliest class is the right one, float64 [n]; NaN where no class was predicted."""
    table = workdir / "predictions" / f"{split}.parquet"
    top5 = read_predictions(table, records).top5_class if table.exists() else None
    if top5 is None:
        return np.full(len(records), np.nan)
    return (top5[:, 0] == [record.label for record in records]).astype(np.float64)
