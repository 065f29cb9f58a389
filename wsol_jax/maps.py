"""Score-map methods, stage by stage: a classifier, a map of each photo, and what thresholds cut out of the maps.

A photo's map is that of its own class. Where the likeliest class is the right one, that is its map as well, and
elsewhere neither Top-1 nor Top-5 localization asks for another.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from wsol_jax.backbones.initialise import shapes
from wsol_jax.context import Context
from wsol_jax.data.photos import in_threads
from wsol_jax.data.plan import test_window
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation import map_boxes, map_pixels, score_maps
from wsol_jax.files import write_atomically
from wsol_jax.methods.method import Prediction
from wsol_jax.methods.networks import input_size, resize_size
from wsol_jax.methods.predict import predict_photos
from wsol_jax.predictions import join, top_classes
from wsol_jax.progress import track
from wsol_jax.pseudo.regions import WHOLE_IMAGE, bounds, largest_region
from wsol_jax.report.coco import write_coco
from wsol_jax.tables import Predictions, read_predictions, write_predictions
from wsol_jax.trained import Trained, check_training, chosen_splits, make_method, other_run, train_stage
from wsol_jax.training.checkpoints import load_variables

BOX_SIDE = 224  # pixels of the square in which `fixed_box` draws

MapSource = Callable[[int], np.ndarray]
"""Number of a record -> its score map, float64 [h, w] in [0, 1]."""


def train(config: ConfigDict, context: Context) -> None:
    """A classifier whose maps tell where its classes are."""
    train_stage("train", None, config, context)


def check_train(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there are no training photos, or no such network, or its weights are others."""
    check_training("train", config, context)


def predict(config: ConfigDict, context: Context) -> None:
    """Classes, a map, and the box of its largest region above `box_threshold`, for every photo of `splits`.

    The classes are the network's or, of two stages (DA-WSOL, section 4.1), those of a classifier in `classes_from`.
    """
    trained = _trained(config, context)
    for split in chosen_splits(config.splits, context):
        records, folder = context.dataset.splits[split], context.workdir / "predictions"
        found = say(trained, split, config.test_geometry, config.batch_size, context)
        boxes = in_threads(partial(fixed_box, threshold=config.box_threshold), found.map)
        if config.classes_from:
            classes = read_predictions(Path(config.classes_from), records, ("top5_class",))
        else:
            classes = top_classes(found.logits)
            write_atomically(folder / f"{split}.logits.npy", lambda file, found=found: np.save(file, found.logits))
        said = join(Predictions(box=np.array(list(boxes))), classes)
        write_atomically(folder / f"{split}.maps.npy", lambda file, found=found: np.save(file, found.map))
        if found.assignment is not None:
            assignment = found.assignment.astype(np.int8)
            write_atomically(assignments_file(context.workdir, split), lambda file, a=assignment: np.save(file, a))
        write_predictions(folder / f"{split}.parquet", records, said)
        write_coco(folder / f"{split}.coco.json", records, said, context.dataset.classes)


def check_predict(config: ConfigDict, context: Context) -> None:
    """Raises InputError if a split is not there, or its classes in a file, or no run whose classifier is to draw maps.

    That classifier has to tell as many classes as these photos have. What only PSOL's boxes and classes know is told.
    """
    for key in ("boxes_from", "localizer_from", "ten_crop"):
        if config[key]:
            raise InputError(f"{key} is {config[key]!r}, but a score-map run draws its boxes from maps of one crop")
    splits = chosen_splits(config.splits, context)
    if config.classes_from:
        require_file_of_others(config.classes_from, context)
        for split in splits:
            read_predictions(Path(config.classes_from), context.dataset.splits[split], ("top5_class",))
    trained = _trained(config, context)
    if config.grad_cam_from:
        require_classes(trained, "grad_cam_from", context)


def require_file_of_others(file: str, context: Context) -> None:
    """Raises InputError if a table that `predict` reads is not there, or is this run's own, which it writes anew."""
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file")
    if Path(file).resolve().is_relative_to((context.workdir / "predictions").resolve()):
        raise InputError(f"{file} is what this run writes; expected another run's predictions")


def fixed_box(activation: np.ndarray, threshold: float) -> np.ndarray:
    """The box that CAM's authors draw: around the largest 8-connected region above a share of the maximum.

    Args:
        activation: [h, w], a map as a network gives it.
        threshold: of the maximum, after upsampling and stretching to [0, 1]: 0.2 in the PSOL paper's comparisons.

    Returns:
        float64 [4], normalised xyxy; the whole image for a map that is constant.
    """
    return scored_box(activation, threshold)[0]


def scored_box(activation: np.ndarray, threshold: float) -> tuple[np.ndarray, float, bool]:
    """`fixed_box`; the mean of the stretched map in its region; and whether there was none (then the mean is 0)."""
    score_map = score_maps.score_map(activation, (BOX_SIDE, BOX_SIDE))
    region = largest_region(score_map > threshold)
    if not region.any():
        return WHOLE_IMAGE, 0.0, True
    return bounds(region), float(score_map[region].mean()), False


def save_maps(config: ConfigDict, context: Context) -> None:
    """Writes maps/SPLIT/IMAGE.npy, float32 [size, size] in [0, 1]: the layout that wsolevaluation reads."""
    for split, records in context.dataset.splits.items():
        file = maps_file(context.workdir, split)
        if not file.exists():
            continue
        source, folder = own_maps(file, config.size), context.workdir / "maps" / split
        for i, record in enumerate(track(records, len(records), f"maps, {split}")):
            values = source(i).astype(np.float32)
            file = folder / f"{record.path.removeprefix(config.prefix)}.npy"
            write_atomically(file, lambda out, values=values: np.save(out, values))


def read_maps(config: ConfigDict, context: Context) -> None:
    """Looks at every map of `dir` that somebody else's code wrote, and writes maps.json: how many there are."""
    counts = {}
    for split in chosen_splits(config.splits, context):
        records, source = context.dataset.splits[split], others_maps(config, context.dataset, split)
        counts[split] = sum(1 for _ in track(in_threads(source, range(len(records))), len(records), f"maps, {split}"))
    text = json.dumps({"dir": config.dir, "maps": counts}, indent=2)
    write_atomically(context.workdir / "maps.json", lambda file: file.write(text.encode()))


def check_read_maps(config: ConfigDict, context: Context) -> None:
    """Raises InputError if there is no folder of maps, or a split is not there."""
    if not Path(config.dir).is_dir() or not config.dir:
        raise InputError(f"dir is {config.dir!r}; expected a folder of IMAGE.npy files")
    chosen_splits(config.splits, context)


def files_of_maps(config: ConfigDict) -> list[Path]:
    """The folder of others that `read_maps` reads."""
    return [Path(config.dir)] if config.dir else []


def others_maps(config: ConfigDict, dataset: Dataset, split: str) -> MapSource:
    """The maps of `dir`, each checked when it is read."""
    records, size = dataset.splits[split], (config.size, config.size)
    return lambda i: score_maps.read(Path(config.dir), records[i].path.removeprefix(config.prefix), size)


def sources(context: Context, size: int) -> dict[str, MapSource]:
    """Split -> its maps, for the splits that have some; others' where there are both."""
    found = {}
    for split in context.dataset.splits:
        if (file := maps_file(context.workdir, split)).exists():
            found[split] = own_maps(file, size)
    if "read_maps" in context.configs:
        config = context.configs["read_maps"]
        for split in chosen_splits(config.splits, context):
            found[split] = others_maps(config, context.dataset, split)
    return found


def maps_file(workdir: Path, split: str) -> Path:
    """Where the maps of a split are as the network gave them, float32 [n, h, w], in the order of its records."""
    return workdir / "predictions" / f"{split}.maps.npy"


def assignments_file(workdir: Path, split: str) -> Path:
    """Where DA-WSOL's set of each pixel of a split is, int8 [n, h, w]; see `target_samples.SETS`."""
    return workdir / "predictions" / f"{split}.assignments.npy"


def own_maps(file: Path, size: int) -> MapSource:
    """The maps of `maps_file` as score maps of `size` x `size` pixels, made when they are asked for."""
    activations = np.load(file, mmap_mode="r", allow_pickle=False)
    return lambda i: score_maps.score_map(activations[i], (size, size))


def center_gaussian(size: int) -> np.ndarray:
    """What one can say of every photo without looking: a Gaussian in the middle, a quarter of the side wide.

    Thresholds cut the same boxes and nearly the same masks out of it whatever its width (wsolevaluation, table 2).

    Returns:
        float64 [size, size] in [0, 1].
    """
    off = (np.arange(size) + 0.5) / size - 0.5
    return score_maps.score_map(np.exp(-(off[:, None] ** 2 + off**2) / (2 * 0.25**2)), (size, size))


class MapResults(NamedTuple):
    """The states of both metrics of maps.

    Attributes:
        boxes: of all photos.
        pixels: of the photos with a mask; None if none has one.
    """

    boxes: map_boxes.MapBoxes
    pixels: map_pixels.PixelScores | None


def measure(
    what: str, dataset: Dataset, records: Sequence[Record], source: MapSource, top1: np.ndarray, config: ConfigDict
) -> MapResults:
    """Compare maps with what is true, one at a time: none is held.

    Args:
        what: a name for the progress.
        dataset: gives the masks.
        records: n photos.
        source: of their maps.
        top1: float64 [n], 1 where the likeliest class is the true one, 0 where not, NaN where nobody said.
        config: of the stage `evaluate`.
    """

    def one(i: int) -> tuple[map_boxes.MapBoxes, map_pixels.PixelScores | None]:
        score_map, record, pixels = source(i), records[i], None
        if record.masks:
            mask = dataset.read_mask(record, len(score_map))
            pixels = map_pixels.measure(record.path, score_map, mask, config.threshold_step)
        return map_boxes.measure(record, score_map, float(top1[i])), pixels

    boxes, pixels = [], None
    for of_boxes, of_pixels in track(in_threads(one, range(len(records))), len(records), what, unit="maps"):
        boxes.append(of_boxes)
        if of_pixels is not None:
            pixels = of_pixels if pixels is None else map_pixels.merge([pixels, of_pixels])
    return MapResults(map_boxes.merge(boxes), pixels)


def numbers(results: MapResults, step: float) -> dict[str, float]:
    """The metrics of maps, percent, each at the threshold that is best for these very photos, and those thresholds."""
    metrics = map_boxes.compute(results.boxes, step) if results.boxes.has_truth.any() else {}
    return metrics | (map_pixels.compute(results.pixels, step) if results.pixels else {})


def numbers_at(results: MapResults, validated: Mapping[str, float], step: float) -> dict[str, float]:
    """`val_threshold/...`: the metrics at the thresholds that were best for the validation photos."""
    metrics = map_boxes.compute_at(results.boxes, dict(validated), step) if results.boxes.has_truth.any() else {}
    if results.pixels and "piou/threshold" in validated:
        metrics |= map_pixels.compute_at(results.pixels, dict(validated), step)
    return metrics


def curves(results: MapResults, step: float) -> dict[str, list[list[float]]]:
    """The metrics at every threshold and precision over recall, in percent: name -> [x, y], rounded for a file."""
    at, named = score_maps.thresholds(step), {}
    if results.boxes.has_truth.any():
        named |= {name: (at, curve) for name, curve in map_boxes.curves(results.boxes, step).items()}
    if results.pixels:
        precision, recall = map_pixels.precision_recall(results.pixels)
        named["precision"] = (100 * recall, 100 * np.nan_to_num(precision, nan=1.0))
        named["piou"] = (at, map_pixels.iou_curve(results.pixels)[::-1][: len(at)])
    return {name: [np.round(axis, 4).tolist() for axis in axes] for name, axes in named.items()}


def _trained(config: ConfigDict, context: Context) -> Trained:
    """The network that draws the maps: this run's, or another's classifier by Grad-CAM."""
    if not config.grad_cam_from:
        return Trained("train", context.configs["train"], context.workdir)
    other = other_run(Path(config.grad_cam_from), "classifier", "grad_cam_from")
    with_method = ConfigDict(
        other.config.to_dict() | {"method": "grad_cam", "grad_cam": {"stage": config.grad_cam_stage}}
    )
    return other._replace(config=with_method)


def require_classes(trained: Trained, key: str, context: Context) -> None:
    """Check that another run's network tells as many classes as these photos have.

    Args:
        trained: the network; its checkpoint tells.
        key: that names its workdir, for the error.
        context: has the photos.

    Raises:
        InputError: it tells more or fewer.
    """
    classes, size = len(context.dataset.classes), input_size(trained.config)
    module = make_method("train", trained.config, classes).module
    trained_params = flatten_dict(load_variables(trained.checkpoints)["params"])
    for path, expected in flatten_dict(shapes(module, (1, size, size, 3))["params"]).items():
        if trained_params[path].shape != expected.shape:
            raise InputError(
                f"{key}: the network of {trained.workdir} tells {trained_params[path].shape[-1]} classes; expected "
                f"{classes}, as many as these photos have"
            )


def say(trained: Trained, split: str, geometry: str, batch_size: int, context: Context) -> Prediction:
    """The logits of a split's photos, and the maps of their own classes, as the network gives them.

    Args:
        trained: what is asked.
        split: whose photos.
        geometry: what it sees of them, see `test_window`.
        batch_size: over all devices.
        context: has the photos.
    """
    method = make_method("train", trained.config, len(context.dataset.classes))
    size, resized = input_size(trained.config), resize_size(trained.config)
    return predict_photos(
        method,
        load_variables(trained.checkpoints, method.memory),
        context.dataset,
        context.dataset.splits[split],
        test_window(geometry, size / resized),
        size,
        batch_size,
        f"maps, {split}",
        context.mesh,
        of_own_class=True,
    )
