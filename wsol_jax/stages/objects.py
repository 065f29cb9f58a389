"""The stage `objects`: every region of a photo's map that holds enough of its heat, with box, mask and score.

The maps are those behind the boxes of this run, cut at the same threshold: the heat maps of the pseudo boxes, and score
maps. The one box a photo of the other stages is left as it is. A photo without a region, or whose surest object has too
low a score, is reported as having none.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.arrays import read_array
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.predictions.objects import Objects, in_photo, runs, write_coco_objects, write_objects
from wsol_jax.predictions.predictions import Predictions, box_classes
from wsol_jax.predictions.table import read_predictions
from wsol_jax.pseudo.confidence import region_confidences
from wsol_jax.pseudo.regions import Region, heat_regions, scored_regions
from wsol_jax.stages.box_sources import PSEUDO
from wsol_jax.stages.context import Context
from wsol_jax.stages.evaluate import MAPS
from wsol_jax.stages.heat_views import COMPUTED
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import activations_file, coco_file, heat_file, objects_file, predictions_file
from wsol_jax.threads import in_threads

Cut = Callable[[np.ndarray], list[Region]]

NO_MAPS = "there are no maps; expected pseudo.source ddt, c2am or cam, or predicted score maps"


class Source(NamedTuple):
    """The maps of a split.

    Attributes:
        name: whose maps they are, PSEUDO or MAPS.
        split: its name.
        maps: float [n, h, w], mapped into memory.
        cut: a map -> its regions with their scores.
    """

    name: str
    split: str
    maps: np.ndarray
    cut: Cut


def defaults() -> ConfigDict:
    """Return the keys of `objects` with their defaults."""
    return ConfigDict(
        dict(
            share=0.1,  # of a map's heat above the threshold, that an object needs; the largest that lost no recall
            confidence=0.0,  # of its surest object, below which a photo has none; 0: never
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    del devices
    checks.fraction(config, "share")
    checks.fraction(config, "confidence")


def run(config: ConfigDict, context: Context) -> None:
    """Write objects/: a table and a COCO JSON of the objects of every split that has maps."""
    sources = list(_sources(config.share, context))
    if not sources:
        raise InputError(f"objects: {NO_MAPS}")
    for source in sources:
        records = context.dataset.splits[source.split]
        objects = _objects(source, records, config.confidence)
        table = objects_file(context.workdir, source.name, source.split)
        write_objects(table, records, objects)
        write_coco_objects(coco_file(table), records, objects, _labels(source.split, context), context.dataset.classes)


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if there will be no maps; whether predictions are score maps is known once they are written."""
    del config
    if not _has_heat(context) and "predict" not in context.configs:
        raise InputError(NO_MAPS)


def _has_heat(context: Context) -> bool:
    """Whether the pseudo boxes are cut from heat maps; next to corrected ones, photos have these boxes alone."""
    pseudo = context.configs.get("pseudo_boxes")
    return pseudo is not None and pseudo.source in (*COMPUTED, "cam")


def _sources(share: float, context: Context) -> Iterator[Source]:
    """The maps of this run."""
    pseudo = context.configs.get("pseudo_boxes")
    for split, records in context.dataset.splits.items():
        heat = heat_file(context.workdir, split)
        activations = activations_file(predictions_file(context.workdir, split))
        if _has_heat(context) and heat.exists():
            cut = partial(_heat_objects, config=pseudo, share=share)
            if pseudo.source == "cam":
                cut = partial(scored_regions, threshold=pseudo.cam_threshold, share=share)
            yield Source(PSEUDO, split, read_array(heat, (len(records), None, None), mapped=True), cut)
        if "predict" in context.configs and activations.exists():
            cut = partial(scored_regions, threshold=context.configs["predict"].box_threshold, share=share)
            yield Source(MAPS, split, read_array(activations, (len(records), None, None), mapped=True), cut)


def _heat_objects(heat: np.ndarray, config: ConfigDict, share: float) -> list[Region]:
    """The regions of a heat map of DDT or C2AM, whose scores are their confidences."""
    heat = heat.astype(np.float32)
    regions = heat_regions(heat, config.threshold, config.size, config.threshold_levels, share)
    scores = region_confidences(heat, regions)
    return [region._replace(score=score) for region, score in zip(regions, scores, strict=True)]


def _objects(source: Source, records: list[Record], confidence: float) -> Objects:
    """The objects of all photos, with a line of the log about their numbers."""

    def of_photo(i: int) -> list[tuple[np.ndarray, float, str, int]]:
        regions = sorted(source.cut(source.maps[i]), key=lambda region: -region.score)
        masks = (in_photo(region.mask, records[i].size) for region in regions)
        return [(cut.box, cut.score, runs(mask), int(mask.sum())) for cut, mask in zip(regions, masks, strict=True)]

    found = list(in_threads(of_photo, range(len(records))))
    kept = [cuts if cuts and cuts[0][1] >= confidence else [] for cuts in found]
    logging.info(
        "objects of %s, %s: %d in %d photos; several in %d; none in %d, of which %d have a confidence below %g",
        source.name,
        source.split,
        sum(map(len, kept)),
        len(records),
        sum(len(cuts) > 1 for cuts in kept),
        sum(not cuts for cuts in kept),
        sum(bool(cuts) for cuts in found) - sum(bool(cuts) for cuts in kept),
        confidence,
    )
    every = [cut for cuts in kept for cut in cuts]
    return Objects(
        photo=np.repeat(np.arange(len(records)), [len(cuts) for cuts in kept]),
        box=np.array([cut[0] for cut in every]).reshape(-1, 4),
        score=np.array([cut[1] for cut in every], np.float32),
        mask=[cut[2] for cut in every],
        area=np.array([cut[3] for cut in every], np.int64),
    )


def _labels(split: str, context: Context) -> np.ndarray:
    """The class of each photo's objects, int32 [n]."""
    records, table = context.dataset.splits[split], predictions_file(context.workdir, split)
    predictions = read_predictions(table, records) if table.exists() else Predictions()
    return box_classes(records, predictions, context.dataset.classes)


STAGE = Stage(
    key="objects",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("pseudo_boxes", "predict"),
    outputs=("objects",),
    run=run,
    check=check,
)
