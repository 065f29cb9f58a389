"""ILSVRC: train/SYNSET/*.JPEG, val/ with or without such folders, and the boxes of the validation photos."""

from pathlib import Path
from xml.etree import ElementTree

from ml_collections import ConfigDict

from wsol_jax.data import annotations, lists, masks, photos
from wsol_jax.data.folder import class_folders, photo_names
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import NO_BOXES, Dataset, Record
from wsol_jax.errors import InputError


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return 'train' from train/ and 'test' from val/; classes are the sorted synsets, photos in alphabetical order.

    Args:
        config: `config.data`. `imagenet.boxes` is a folder of XML files, one for each photo; or a wsolevaluation
            localization.txt, whose neighbouring lists then give the photos of val/, their classes and sizes; or '' for
            no boxes. It starts from `dir` unless it is absolute.
        seed: unused, as nothing is drawn.

    Raises:
        InputError: train/ or the boxes are missing; the class of a validation photo is ambiguous; XML is malformed; a
            box is empty or outside of its photo.
    """
    root = photos.root_folder(config.dir, "imagenet")
    if not (root / "train").is_dir():
        raise InputError(f"{root} has no folder train/; expected one with a folder for each synset")
    synsets = {folder.name: label for label, folder in enumerate(class_folders(root / "train"))}
    splits = {"train": _in_class_folders(root, "train", synsets)}
    boxes = root / config.imagenet.boxes
    if boxes.is_file():
        splits["test"] = lists.read_split(root, boxes.parent, lists.Files(images="", boxes=boxes.name))
    elif config.imagenet.boxes and not boxes.is_dir():
        raise InputError(f"--config.data.imagenet.boxes: there is no file or folder {boxes}")
    elif config.imagenet.boxes:
        splits["test"] = [_annotated(root, name, boxes, synsets) for name in photo_names(root, root / "val")]
    elif (root / "val").is_dir():
        splits["test"] = _in_class_folders(root, "val", synsets)
    return Dataset(list(synsets), splits, photos.PhotoFiles(root), masks.MaskFiles(root))


def _in_class_folders(root: Path, split: str, synsets: dict[str, int]) -> list[Record]:
    names = [name for folder in class_folders(root / split) for name in photo_names(root, folder)]
    sizes = photos.photo_sizes(root, names, f"sizes of {split}")
    return [
        Record(name, _label(name.split("/")[1], synsets, name), size, NO_BOXES)
        for name, size in zip(names, sizes, strict=True)
    ]


def _label(synset: str, synsets: dict[str, int], where: object) -> int:
    if synset not in synsets:
        raise InputError(f"{where}: synset {synset!r} has no folder in train/")
    return synsets[synset]


def _annotated(root: Path, name: str, folder: Path, synsets: dict[str, int]) -> Record:
    """A validation photo with its XML; its class is that of its folder, or the one synset of its boxes."""
    file = folder / f"{Path(name).stem}.xml"
    size, objects = read_xml(file)
    of_boxes = {synset for synset, _ in objects}
    parents = name.split("/")[1:-1]
    if not parents and len(of_boxes) != 1:
        raise InputError(f"{file}: expected boxes of one synset, the photo's, got {sorted(of_boxes)}")
    synset = parents[0] if parents else of_boxes.pop()
    pixels = [box for other, box in objects if other == synset]
    return Record(name, _label(synset, synsets, file), size, annotations.normalised_boxes(pixels, size, name))


def read_xml(path: Path) -> tuple[tuple[int, int], list[tuple[str, list[float]]]]:
    """Return the size and the objects of an annotation in the XML of PASCAL VOC and ILSVRC.

    Its coordinates count from 1; each is reduced by 1, as in PSOL's code.

    Args:
        path: the file.

    Returns:
        (width, height) of the photo, and (name, [x0, y0, x1, y1] in pixels from 0) of each object.

    Raises:
        InputError: the file is missing, is not such XML, or declares a document type (which could expand without end).
    """
    text = "\n".join(line for _, line in annotations.numbered_lines(path))
    if "<!DOCTYPE" in text:
        raise InputError(f"{path}: XML with a document type is not read")
    try:
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path}: not XML ({error})") from error
    w, h = (
        annotations.whole_number(tree.findtext(f"size/{side}", ""), f"{path}, size") for side in ("width", "height")
    )
    if w < 1 or h < 1:
        raise InputError(f"{path}: a photo of {w} x {h} pixels")
    objects = []
    for node in tree.iter("object"):
        corners = [node.findtext(f"bndbox/{corner}", "") for corner in ("xmin", "ymin", "xmax", "ymax")]
        objects.append((node.findtext("name", ""), [value - 1 for value in annotations.numbers(corners, str(path))]))
    return (w, h), objects


IMAGENET = Reader(
    load,
    defaults=dict(boxes=""),  # a folder of validation XML files, or a wsolevaluation localization.txt
)
