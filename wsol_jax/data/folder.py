"""A folder of photos for each class: the user's own photos, with true boxes only where a file of them is given."""

from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import masks, photos
from wsol_jax.data.matching import with_true_boxes
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import NO_BOXES, Dataset, Record
from wsol_jax.data.splits import choose, per_class
from wsol_jax.errors import InputError

UNLABELLED = ["object"]
"""The classes of photos without labels: labelling tools need a name for a box."""


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the photos below each class's folder, at any depth; classes and photos in alphabetical order.

    If the root has train/ and test/, the classes' folders are in them. Otherwise `folder.test_fraction` of each class's
    photos, rounded, is drawn for 'test'; at least one stays in 'train'. Photos in a root without folders have no label,
    and all are in 'train'. Hidden files and folders (.NAME) are ignored;
    files whose suffix is not that of a photo are counted in the log.

    Args:
        config: `config.data`.
        seed: of the draw.

    Raises:
        InputError: there is no class's folder; only one of train/ and test/ exists; the fraction is not in [0, 1); as
            `matching.with_true_boxes` for `folder.boxes`.
    """
    root, fraction = photos.root_folder(config.dir, "folder"), config.folder.test_fraction
    if not 0 <= fraction < 1:
        raise InputError(f"--config.data.folder.test_fraction: expected 0 <= fraction < 1, got {fraction}")
    if not _folders(root) and (names := photo_names(root, root)):
        return _unlabelled(root, names)
    parts = [name for name in ("train", "test") if (root / name).is_dir()]
    if len(parts) == 1:
        raise InputError(f"{root} has a folder {parts[0]}/; expected both train/ and test/, or neither")
    if parts:
        classes = sorted({folder.name for part in parts for folder in class_folders(root / part)})
        splits = {part: _records(root, root / part, classes) for part in parts}
    else:
        classes = [folder.name for folder in class_folders(root)]
        splits = _split(_records(root, root, classes), fraction, seed)
    dataset = Dataset(classes, splits, photos.PhotoFiles(root), masks.MaskFiles(root))
    return with_true_boxes(dataset, Path(config.folder.boxes).expanduser()) if config.folder.boxes else dataset


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


def _unlabelled(root: Path, names: list[str]) -> Dataset:
    """Photos of no known class, all of them for training."""
    logging.info("%s has no folders, its %d photos no labels; folders for classes give them some", root, len(names))
    records = _sized(root, names, [-1] * len(names))
    return Dataset(UNLABELLED, {"train": records}, photos.PhotoFiles(root), masks.MaskFiles(root))


def photo_names(root: Path, folder: Path) -> list[str]:
    """Return the paths of the photos in `folder`, at any depth, sorted, relative to `root`.

    Raises:
        InputError: a name is not UTF-8, in which tables are written.
    """
    names, others = [], 0
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        if path.suffix.lower() not in photos.SUFFIXES:
            others += 1
            continue
        names.append(_utf8(path.relative_to(root).as_posix()))
    if others:
        logging.warning("%s: %d files do not have the suffix of a photo and are left out", folder, others)
    return names


def _utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name!a}: expected a file name in UTF-8") from error
    return name


def _records(root: Path, folder: Path, classes: list[str]) -> list[Record]:
    labels, names = [], []
    for label, name in enumerate(classes):
        in_class = photo_names(root, folder / name)
        names += in_class
        labels += [label] * len(in_class)
    return _sized(root, names, labels)


def _sized(root: Path, names: list[str], labels: list[int]) -> list[Record]:
    sizes = photos.photo_sizes(root, names, "photo sizes")
    return [Record(name, label, size, NO_BOXES) for name, label, size in zip(names, labels, sizes, strict=True)]


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
