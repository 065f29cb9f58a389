"""A folder of photos for each class: the user's own photos, with true boxes only where a file of them is given."""

from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import masks, photos
from wsol_jax.data.annotated import to_records
from wsol_jax.data.matching import with_true_boxes
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Annotated, Dataset, Record
from wsol_jax.data.splits import choose, per_class
from wsol_jax.data.walk import photos_below
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path

UNLABELLED = ["object"]
"""The classes of photos without labels: labelling tools need a name for a box."""

VAL = ("val", "valid", "validation")


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the photos below each class's folder, at any depth; classes and photos in alphabetical order.

    If the root has train/ and test/ or val/ (also valid/ or validation/), the classes' folders are in them; without
    test/, the photos of val/ are those of 'test'. Otherwise `folder.test_fraction` of each class's photos, rounded, is
    drawn for 'test'; at least one stays in 'train'. Photos in a root without folders have no label,
    and all are in 'train'. Hidden files and folders (.NAME) are ignored; what else is left out
    is counted in the log, see `walk.photos_below`.

    Args:
        config: `config.data`.
        seed: of the draw.

    Raises:
        InputError: there is no class's folder; of train/, test/ and val/ only one exists; the fraction is not in
            [0, 1); as `annotated.to_records`, and as `matching.with_true_boxes` for `folder.boxes`.
    """
    root, fraction = photos.root_folder(config.dir, "folder"), config.folder.test_fraction
    if not 0 <= fraction < 1:
        raise InputError(f"--config.data.folder.test_fraction: expected 0 <= fraction < 1, got {fraction}")
    if not _folders(root) and (names := photo_names(root, root)):
        dataset = _unlabelled(root, names, config)
    else:
        dataset = _labelled(root, config, seed)
    dataset = dataset._replace(annotation_frame=config.annotation_frame)
    return with_true_boxes(dataset, to_path(config.folder.boxes).expanduser()) if config.folder.boxes else dataset


def _labelled(root: Path, config: ConfigDict, seed: int) -> Dataset:
    parts = _parts(root)
    classes = sorted({folder.name for part in parts.values() for folder in class_folders(part)})
    _hint_at_one_class(root, parts, classes)
    splits = to_records(root, _items(root, parts, classes), config)
    if list(parts) == ["all"]:
        splits = _split(splits["all"], config.folder.test_fraction, seed)
    return Dataset(classes, splits, photos.PhotoFiles(root), masks.MaskFiles(root))


def _unlabelled(root: Path, names: list[str], config: ConfigDict) -> Dataset:
    """Photos of no known class, all of them for training."""
    logging.info("%s has no folders, its %d photos no labels; folders for classes give them some", root, len(names))
    records = to_records(root, {"train": [Annotated(name, -1) for name in names]}, config)
    return Dataset(UNLABELLED, records, photos.PhotoFiles(root), masks.MaskFiles(root))


def _parts(root: Path) -> dict[str, Path]:
    """Split -> its folder; 'all' -> the root, where photos are not split."""
    names = {"train": ("train",), "test": ("test",), "val": VAL}
    found = {split: [root / name for name in of_split if (root / name).is_dir()] for split, of_split in names.items()}
    parts = {split: folders[0] for split, folders in found.items() if folders}
    if not parts or list(parts) == ["val"]:
        return {"all": root}
    if "train" not in parts or len(parts) == 1:
        raise InputError(f"{root} has a folder {parts.popitem()[1].name}/; expected both train/ and test/, or neither")
    others = sorted(path.name for path in _folders(root) if path not in parts.values())
    if others:
        logging.warning("%s: folders that are no split are left out: %s", root, ", ".join(others))
    if "test" not in parts:
        val = parts.pop("val")
        logging.warning("%s has no test/; the photos of %s/ are 'test'", root, val.name)
        parts["test"] = val
    return parts


def _hint_at_one_class(root: Path, parts: dict[str, Path], classes: list[str]) -> None:
    inner = _folders(root / classes[0]) if list(parts) == ["all"] and len(classes) == 1 else []
    if len(inner) > 1:
        logging.warning(
            "%s has one class, %s, with %d folders; --config.data.dir=%s makes each of them a class",
            *(root, classes[0], len(inner), root / classes[0]),
        )


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in `folder`, one for each class, sorted by name.

    Raises:
        InputError: there is none.
    """
    folders = _folders(folder)
    if not folders:
        raise InputError(f"{folder} has no folder; expected one for each class, with its photos inside, or photos")
    loose = sum(path.suffix.lower() in photos.SUFFIXES for path in folder.iterdir() if path.is_file())
    if loose:
        logging.warning("%s: %d photos lie in no class's folder and are left out", folder, loose)
    return folders


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def photo_names(root: Path, folder: Path) -> list[str]:
    """Return the paths of the photos in `folder`, at any depth, sorted, relative to `root`; see `walk.photos_below`."""
    (names,) = photos_below(root, [folder])
    return names


def _items(root: Path, parts: dict[str, Path], classes: list[str]) -> dict[str, list[Annotated]]:
    """Split -> its photos, in the order of the classes."""
    places = [(split, label, part / name) for split, part in parts.items() for label, name in enumerate(classes)]
    places = [(split, label, folder) for split, label, folder in places if folder.is_dir()]
    items: dict[str, list[Annotated]] = {split: [] for split in parts}
    found = photos_below(root, [folder for *_, folder in places])
    for (split, label, _), names in zip(places, found, strict=True):
        items[split] += [Annotated(name, label) for name in names]
    return items


def _split(records: list[Record], fraction: float, seed: int) -> dict[str, list[Record]]:
    chosen = set()
    for label, positions in per_class(records).items():
        chosen |= choose(positions, min(round(fraction * len(positions)), len(positions) - 1), seed, label)
    test = [record for position, record in enumerate(records) if position in chosen]
    train = [record for position, record in enumerate(records) if position not in chosen]
    return {"train": train} | ({"test": test} if test else {})


FOLDER = Reader(
    load,
    defaults=dict(
        test_fraction=0.2,  # of each class's photos, where there are no train/ and test/ folders
        boxes="",  # true boxes, for evaluation: a COCO or Label Studio FILE.json, or a folder of VOC XML; '' for none
    ),
)
