"""The stage `evaluate`: metrics.json, curves.json, results/ of every source of boxes, objects and maps, by split."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation import bootstrap, maps, object_boxes, photo_results
from wsol_jax.evaluation.direct_boxes import compute, hits, intervals, measure
from wsol_jax.evaluation.maps import BY_PSEUDO, VALIDATED
from wsol_jax.files import write_atomically
from wsol_jax.predictions.objects import read_objects
from wsol_jax.predictions.table import read_predictions
from wsol_jax.stages import pseudo_from
from wsol_jax.stages.box_sources import CENTER_BOX, OURS, PSEUDO, boxes_by_source
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.map_runs import map_sources
from wsol_jax.stages.pseudo_from import choosing_split, with_pseudo_boxes
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import curves_file, metrics_file, objects_file, predictions_file, results_file

MAPS, CENTER_GAUSSIAN, ONE_BOX = "maps", "center_gaussian", "one_box"
MAP_METRICS = ("max_box_acc", "max_box_acc_v2", "top1_loc_map", "pxap", "piou")


def defaults() -> ConfigDict:
    """Return the keys of `evaluate` with their defaults."""
    return ConfigDict(
        dict(
            resamples=1000,  # of the bootstrap behind each interval
            map_size=224,  # side of the square that maps are compared in, pixels
            threshold_step=0.001,  # between the thresholds of a map (wsolevaluation's other default: 0.01)
            # the workdir of a run with pseudo boxes of these photos, or a .parquet file: they choose thresholds too
            pseudo_from="",
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.positive(config, "resamples", "map_size", "threshold_step")
    checks.memory(config, "map_size", 2 * config.map_size**2 * 8, "a score map and its thresholds")
    checks.memory(config, "resamples", 4 * config.resamples * 8 * 8, "the resampled metrics")
    checks.at_most(config, "resamples", 1e7)
    checks.require(config, "threshold_step", 1e-6 <= config.threshold_step <= 1, "a number from 0.000001 to 1")
    pixels = 2 * 8 * bootstrap.AT_ONCE / config.threshold_step
    checks.memory(config, "threshold_step", pixels, "the pixels of resampled photos at every threshold")


def run(config: ConfigDict, context: Context) -> None:
    """Write metrics.json: each source of boxes and of maps on each split; and curves.json: maps at every threshold.

    results/ has the results of every photo, for comparisons with other runs.
    """
    metrics, of_photos = _box_metrics(config, context)
    metrics |= _object_metrics(config, context)
    map_metrics, curves, of_maps = _map_metrics(config, context)
    for split, records in context.dataset.splits.items():
        photo_results.write(results_file(context.workdir, split), records, of_photos[split], of_maps.get(split))
    write_atomically(metrics_file(context.workdir), lambda file: file.write(_json(metrics | map_metrics, indent=2)))
    write_atomically(curves_file(context.workdir), lambda file: file.write(_json(curves)))


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if pseudo boxes cannot choose the thresholds of the splits with maps."""
    if not config.pseudo_from:
        return
    listed = [context.configs[name].splits for name in ("predict", "read_maps") if name in context.configs]
    splits = {split for splits in listed for split in chosen_splits(splits, context)}
    if not splits:
        raise InputError(f"pseudo_from is {config.pseudo_from!r}, but there are no score maps; expected ''")
    for split in {choosing_split(split, splits) for split in splits}:
        with checks.prefixed("pseudo_from: "):
            with_pseudo_boxes(config.pseudo_from, split, context.dataset.splits[split])


def _json(values: dict, indent: int | None = None) -> bytes:
    return json.dumps(values, indent=indent, sort_keys=True).encode()


def _prefix(source: str, split: str) -> str:
    return ("" if source in (OURS, MAPS) else f"{source}/") + ("" if split == "test" else f"{split}/")


def _box_metrics(config: ConfigDict, context: Context) -> tuple[dict[str, float], dict[str, dict[str, np.ndarray]]]:
    """The metrics of one box a photo, under both protocols, with intervals; split -> metric -> that of every photo."""
    metrics: dict[str, float] = {}
    of_photos: dict[str, dict[str, np.ndarray]] = {}
    for split, records in context.dataset.splits.items():
        of_photos[split] = {}
        for source, predictions in boxes_by_source(context.workdir, context.dataset, split).items():
            results = measure(records, predictions)
            numbers = compute(results)
            if shown := [f"{name} {numbers[name]:.2f}" for name in hits(results)]:
                logging.info("%s, %s: %s", source, split, ", ".join(shown))
            numbers |= intervals(results, context.seed, config.resamples)
            metrics |= {_prefix(source, split) + name: value for name, value in numbers.items()}
            if source != CENTER_BOX:
                of_photos[split] |= {_prefix(source, "test") + name: hit for name, hit in hits(results).items()}
    return metrics, of_photos


def _object_metrics(config: ConfigDict, context: Context) -> dict[str, float]:
    """The metrics of all objects of a photo, if the stage `objects` has run, and of its one box to compare with."""
    metrics: dict[str, float] = {}
    if "objects" not in context.configs:
        return metrics
    for split, records in context.dataset.splits.items():
        of_photos = boxes_by_source(context.workdir, context.dataset, split)
        for source, one_box in ((PSEUDO, PSEUDO), (MAPS, OURS)):
            table = objects_file(context.workdir, source, split)
            if not table.exists() or not any(len(record.boxes) for record in records):
                continue
            found, only = read_objects(table, records), of_photos[one_box]
            results = {
                "": object_boxes.measure(records, found.photo, found.box, found.score),
                f"{ONE_BOX}/": object_boxes.measure(records, np.arange(len(records)), only.box, np.zeros(len(records))),
            }
            for kind, of_kind in results.items():
                numbers = object_boxes.compute(of_kind)
                logging.info("%s%s, %s: %s", kind, source, split, ", ".join(f"{n} {v:.2f}" for n, v in numbers.items()))
                numbers |= object_boxes.intervals(of_kind, context.seed, config.resamples)
                metrics |= {_prefix(source, split) + kind + name: value for name, value in numbers.items()}
    return metrics


def _map_metrics(
    config: ConfigDict, context: Context
) -> tuple[dict[str, float], dict[str, list], dict[str, maps.MapResults]]:
    """The metrics of maps, their curves, and split -> their results.

    The thresholds of 'val' are applied to the other splits, those of pseudo boxes to all.
    """
    metrics, curves, validated, of_maps = {}, {}, {}, {}
    sources, dataset, step = map_sources(context, config.map_size), context.dataset, config.threshold_step
    by_pseudo = _by_pseudo_boxes(config, context, sources) if config.pseudo_from else {}
    for split in sorted(sources, key=lambda split: split != "val"):
        records = dataset.splits[split]
        if not any(len(record.boxes) or record.masks for record in records):
            continue
        top1 = _is_top1(context, records, split)
        for source, of_record in _with_gaussian(config, sources[split]).items():
            results = maps.measure(f"{source}, {split}", dataset, records, of_record, top1, step)
            numbers = maps.numbers(results, step)
            chosen = {BY_PSEUDO: by_pseudo[split][source]} if split in by_pseudo else {}
            if source == MAPS:
                of_maps[split] = results
            if split == "val":
                validated[source] = numbers
            elif source in validated:
                chosen[VALIDATED] = validated[source]
            numbers |= maps.numbers_at(results, chosen, step)
            numbers |= {f"{BY_PSEUDO}/{name}": value for name, value in chosen.get(BY_PSEUDO, {}).items()}
            # Its hits, more bytes a photo than the results, are freed before the next source is measured.
            numbers |= bootstrap.intervals(
                maps.statistic(results, step, chosen), len(records), context.seed, config.resamples
            )
            shown = [f"{name} {numbers[name]:.2f}" for name in MAP_METRICS if name in numbers]
            logging.info("%s, %s: %s", source, split, ", ".join(shown))
            metrics |= {_prefix(source, split) + name: value for name, value in numbers.items()}
            curves |= {_prefix(source, split) + name: xy for name, xy in maps.curves(results, step).items()}
    return metrics, curves, of_maps


def _with_gaussian(config: ConfigDict, of_split: maps.MapSource) -> dict[str, maps.MapSource | np.ndarray]:
    return {MAPS: of_split, CENTER_GAUSSIAN: maps.center_gaussian(config.map_size)}


def _by_pseudo_boxes(
    config: ConfigDict, context: Context, sources: Mapping[str, maps.MapSource]
) -> dict[str, dict[str, dict[str, float]]]:
    """The thresholds that are best for pseudo boxes: split with true boxes -> source -> NAME/threshold."""
    splits = [split for split in sources if any(len(record.boxes) for record in context.dataset.splits[split])]
    if not splits:
        logging.warning("pseudo_from chooses nothing: no photo has a score map and a true box")
    by_choosing: dict[str, dict[str, dict[str, float]]] = {}
    for split in dict.fromkeys(choosing_split(split, sources) for split in splits):
        records = with_pseudo_boxes(config.pseudo_from, split, context.dataset.splits[split])
        with_box = sum(len(record.boxes) for record in records)
        logging.info("pseudo boxes of %s choose thresholds: %d of %d photos have one", split, with_box, len(records))
        no_class, by_choosing[split] = np.full(len(records), np.nan), {}
        for source, of_record in _with_gaussian(config, sources[split]).items():
            name = f"{source}, pseudo boxes of {split}"
            results = maps.measure(name, context.dataset, records, of_record, no_class, config.threshold_step)
            by_choosing[split][source] = maps.pseudo_thresholds(results, config.threshold_step)
    return {split: by_choosing[choosing_split(split, sources)] for split in splits}


def _is_top1(context: Context, records: Sequence[Record], split: str) -> np.ndarray:
    """Whether the most probable class is the true one, float64 [n]; NaN where no class was predicted."""
    table = predictions_file(context.workdir, split)
    top5 = read_predictions(table, records).top5_class if table.exists() else None
    if top5 is None:
        return np.full(len(records), np.nan)
    return (top5[:, 0] == [record.label for record in records]).astype(np.float64)


STAGE = Stage(
    key="evaluate",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes", "predict", "read_maps", "objects"),
    outputs=("metrics.json", "curves.json", "results"),
    run=run,
    check=check,
    files=lambda config: pseudo_from.files(config.pseudo_from),
)
