"""What a run amounts to: metrics.json, and the page."""

import json
from collections.abc import Iterator, Sequence
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
from wsol_jax.pseudo.stage import boxes_file, heat_file
from wsol_jax.report.page import COLUMNS, Page, Photo, write_page
from wsol_jax.report.published import published_rows
from wsol_jax.tables import Predictions, read_predictions
from wsol_jax.trained import FOLDERS
from wsol_jax.training.train import read_log

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
    if not table.exists():
        return np.full(len(records), np.nan)
    top5 = read_predictions(table, records, ("top5_class",)).top5_class
    return (top5[:, 0] == [record.label for record in records]).astype(np.float64)


def report(config: ConfigDict, context: Context) -> None:
    """Writes report/index.html, for people."""
    workdir, dataset = context.workdir, context.dataset
    predicted = [s for s in dataset.splits if (workdir / "predictions" / f"{s}.parquet").exists()]
    splits = predicted or list(dataset.splits)
    split = "test" if "test" in splits else splits[0]
    sources = boxes_by_source(workdir, dataset, split)
    ious = {source: measure(dataset.splits[split], found).iou for source, found in sources.items()}
    losses = {}
    for stage, folder in FOLDERS.items():
        log = read_log(workdir / folder)
        if log:
            losses[stage] = (np.array([line["step"] for line in log]), np.array([line["loss"] for line in log]))
    file = workdir / "metrics.json"
    metrics = json.loads(file.read_text()) if file.exists() else {}
    page = Page(
        title=f"PSOL: {workdir.resolve().name}",
        metrics=metrics,
        classes=dataset.classes,
        photos=_photos(workdir, dataset, split, sources, ious, config.photos),
        results=ious,
        losses=losses,
        config=(workdir / "config.json").read_text(),
        published=published_rows(config.published, [name for name in COLUMNS if name in metrics]),
    )
    write_page(workdir / "report", page)
    logging.info("report: %s", workdir / "report" / "index.html")


def _photos(
    workdir: Path,
    dataset: Dataset,
    split: str,
    sources: dict[str, Predictions],
    ious: dict[str, np.ndarray],
    count: int,
) -> Iterator[Photo]:
    """`count` photos of a split, spread evenly over the localizer's IoUs, or over the records where there are none."""
    records = dataset.splits[split]
    ours, pseudo = sources.get(OURS, Predictions()), sources.get(PSEUDO, Predictions())
    iou = ious.get(OURS, np.full(len(records), np.nan))
    heat = (
        np.load(heat_file(workdir / "pseudo_boxes", split))
        if heat_file(workdir / "pseudo_boxes", split).exists()
        else None
    )
    order = np.argsort(iou, kind="stable")
    for i in order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)].tolist():
        classes = (
            [] if ours.top5_class is None else zip(ours.top5_class[i].tolist(), ours.top5_prob[i].tolist(), strict=True)
        )
        yield Photo(
            name=records[i].path,
            label=records[i].label,
            image=dataset.read(records[i]),
            truth=records[i].boxes,
            pseudo=None if pseudo.box is None else pseudo.box[i],
            predicted=None if ours.box is None else ours.box[i],
            iou=None if np.isnan(iou[i]) else float(iou[i]),
            top5=list(classes),
            heat=None if heat is None else heat[i].astype(np.float32),
        )
