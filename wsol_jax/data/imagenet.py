"""ILSVRC: train/SYNSET/*.JPEG, val/ with or without such folders, and the boxes of the validation photos."""

from collections import Counter
from functools import partial
from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import annotations, lists, masks, photos
from wsol_jax.data.annotated import to_records
from wsol_jax.data.folder import class_folders, photo_names
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Annotated, Dataset
from wsol_jax.data.walk import photos_below
from wsol_jax.data.xml_boxes import read_xml
from wsol_jax.errors import InputError
from wsol_jax.paths import within
from wsol_jax.threads import in_threads


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return 'train' from train/ and 'test' from val/; classes are the sorted synsets, photos in alphabetical order.

    Args:
        config: `config.data`. `imagenet.boxes` is a folder of XML files, one for each photo; or a wsolevaluation
            localization.txt, whose neighbouring lists then give the photos of val/, their classes and sizes; or '' for
            no boxes. It starts from `dir` unless it is absolute, as does `imagenet.blacklist`: ILSVRC's list of the
            numbers of validation photos with unusable boxes, which are left out.
        seed: unused, as nothing is drawn.

    Raises:
        InputError: train/, the boxes or the blacklist are missing; as `annotated.to_records`: the class of a validation
            photo is ambiguous; XML is missing or malformed; a box is empty or outside of its photo.
    """
    root = photos.root_folder(config.dir, "imagenet")
    if not (root / "train").is_dir():
        raise InputError(f"{root} has no folder train/; expected one with a folder for each synset")
    synsets = {folder.name: label for label, folder in enumerate(class_folders(root / "train"))}
    splits = {"train": _in_class_folders(root, "train", synsets)}
    boxes = within(root, config.imagenet.boxes)
    if boxes.is_file():
        splits["test"] = lists.read_split(root, boxes.parent, lists.Files(images="", boxes=boxes.name))
    elif config.imagenet.boxes and not boxes.is_dir():
        raise InputError(f"--config.data.imagenet.boxes: there is no file or folder {boxes}")
    elif config.imagenet.boxes:
        splits["test"] = _with_xml(root, boxes, synsets)
    elif (root / "val").is_dir():
        splits["test"] = _in_class_folders(root, "val", synsets)
    if config.imagenet.blacklist:
        file = within(root, config.imagenet.blacklist)
        splits["test"] = _without_blacklisted(splits.get("test", []), file)
    return Dataset(list(synsets), to_records(root, splits, config), photos.PhotoFiles(root), masks.MaskFiles(root))


def _in_class_folders(root: Path, split: str, synsets: dict[str, int]) -> list[Annotated]:
    of_folders = photos_below(root, class_folders(root / split))
    return [Annotated(name, _label(name.split("/")[1], synsets, name)) for names in of_folders for name in names]


def _without_blacklisted(items: list[Annotated], file: Path) -> list[Annotated]:
    numbers = {annotations.whole_number(line, where) for where, line in annotations.numbered_lines(file)}
    kept = [item for item in items if _number(item.path) not in numbers]
    logging.info("%s: %d of %d validation photos are left out", file, len(items) - len(kept), len(items))
    return kept


def _number(path: str) -> int | None:
    """The number of a validation photo, 17 of ILSVRC2012_val_00000017.JPEG."""
    digits = Path(path).stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else None


def _label(synset: str, synsets: dict[str, int], where: object) -> int:
    if synset not in synsets:
        raise InputError(f"{where}: synset {synset!r} has no folder in train/")
    return synsets[synset]


def _with_xml(root: Path, boxes: Path, synsets: dict[str, int]) -> list[Annotated]:
    """The validation photos with their XML, of which many files are read at once: a store answers late."""
    items, left_out = [], Counter()
    for item, of_photo in in_threads(
        partial(_annotated, folder=boxes, synsets=synsets), photo_names(root, root / "val")
    ):
        items.append(item)
        left_out.update(of_photo)
    for what, count in (+left_out).items():  # without those that are 0
        logging.warning("%s: %d %s", boxes, count, what)
    return items


def _annotated(name: str, folder: Path, synsets: dict[str, int]) -> tuple[Annotated, Counter]:
    """A validation photo with its XML, and the number of what else the XML has than boxes of the photo's class.

    The class is that of its folder, or the one synset of its boxes.
    """
    file = folder / f"{Path(name).stem}.xml"
    parents = name.split("/")[1:-1]
    label = _label(parents[0], synsets, file) if parents else -1
    try:
        size, objects = read_xml(file)
        of_boxes = {synset for synset, _ in objects}
        if not parents and len(of_boxes) != 1:
            raise InputError(f"{file}: expected boxes of one synset, the photo's, got {sorted(of_boxes)}")
        synset = parents[0] if parents else of_boxes.pop()
        label = _label(synset, synsets, file)
    except InputError as error:
        return Annotated(name, label, wrong=str(error)), Counter()
    own = [box for other, box in objects if other == synset]
    left_out = {
        "boxes are of another synset than their photo's and are left out": len(objects) - len(own),
        "photos have no box of their synset": int(not own),
    }
    return Annotated(name, label, size, own), Counter(left_out)


IMAGENET = Reader(
    load,
    defaults=dict(
        boxes="",  # a folder of validation XML files, or a wsolevaluation localization.txt
        blacklist="",  # ILSVRC's list of numbers of validation photos to leave out
    ),
)
