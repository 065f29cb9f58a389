"""PASCAL VOC, and any folder whose photos have XML files with boxes, as labelling tools write them."""

from collections import Counter
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data import annotations, masks, photos
from wsol_jax.data.annotated import to_records
from wsol_jax.data.folder import photo_names
from wsol_jax.data.objects import LABELS, Object, annotated, label_of, reason_without, report_left_out
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Annotated, Dataset
from wsol_jax.data.xml_boxes import read_xml
from wsol_jax.errors import InputError
from wsol_jax.threads import in_threads


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the photos in alphabetical order, and the classes that label one.

    A photo gets one label, the class of most of its objects, whose boxes are the true ones. Photos without an object,
    or with `voc.label='only'` those with several classes, are left out and counted in the log.

    Args:
        config: `config.data`. `voc.train`, `voc.test` and `voc.val` are below `dir`: lists of the photos' names without
            suffix, one a line; or folders of photos; '' for none. The photos of a list are below `voc.images`. The XML
            of a photo has its name and is below `voc.annotations`, or, where that is '', next to the photo.
        seed: unused, as nothing is drawn.

    Raises:
        InputError: a list or folder is missing, or has no photo with an object; as `annotated.to_records`.
    """
    root, keys = photos.root_folder(config.dir, "voc"), config.voc
    with checks.prefixed("--config.data.voc."):
        checks.one_of(keys, "label", LABELS)
    found = {split: _read_split(root, split, keys) for split in ("train", "test", "val") if keys[split]}
    classes = sorted({name for of_split in found.values() for _, name in of_split if name})
    label = {name: number for number, name in enumerate(classes)}
    splits = {
        split: [item._replace(label=label.get(name, -1)) for item, name in of_split]
        for split, of_split in found.items()
    }
    return Dataset(classes, to_records(root, splits, config), photos.PhotoFiles(root), masks.MaskFiles(root))


def _read_split(root: Path, split: str, keys: ConfigDict) -> list[tuple[Annotated, str]]:
    """The photos of a split, each with the name of its class."""
    place = root if keys[split] == "." else photos.inside(root, keys[split])
    if place.is_dir():
        names = photo_names(root, place)
    elif place.is_file():
        names = _listed(root, place, keys.images)
    else:
        raise InputError(f"--config.data.voc.{split}: there is no list or folder {place}; expected '' for none")
    found, without = [], Counter()
    read = in_threads(partial(_objects_or_error, root, folder=keys.annotations), names)
    for name, (size, objects, error) in zip(names, read, strict=True):
        if error:
            found.append((Annotated(name, -1, wrong=error), ""))
        elif label := label_of(objects, keys.label):
            found.append((annotated(name, -1, label, size, objects), label))
        else:
            without[reason_without(objects)] += 1
    report_left_out(place, without)
    if not any(label for _, label in found):
        raise InputError(f"{place}: no photo has a label{f'; the first: {found[0][0].wrong}' if found else ''}")
    return found


def _objects_or_error(root: Path, photo: str, folder: str) -> tuple[tuple[int, int] | None, list[Object], str]:
    """The size and the objects in the XML of a photo, and why they cannot be read, or ''."""
    try:
        file = photos.inside(root, photo).with_suffix(".xml")
        size, objects = read_xml(photos.inside(root, folder) / file.name if folder else file)
    except InputError as error:
        return None, [], str(error)
    return size, [Object(name, box) for name, box in objects], ""


def _listed(root: Path, file: Path, images: str) -> list[str]:
    """The paths of the photos of a list; those that have no file keep the name of a .jpg, which is then absent."""
    folder = root if images == "." else photos.inside(root, images)
    if not folder.is_dir():
        raise InputError(f"--config.data.voc.images: there is no folder {folder}")
    start = folder.relative_to(root)
    by_name = {Path(name).relative_to(start).with_suffix("").as_posix(): name for name in photo_names(root, folder)}
    lines = [line.split()[0] for _, line in annotations.numbered_lines(file)]  # a class's list has a column more
    return [by_name.get(line, (start / f"{line}.jpg").as_posix()) for line in lines]


VOC = Reader(
    load,
    defaults=dict(
        train="ImageSets/Main/trainval.txt",  # lists of photos, or folders of photos, below `data.dir`; '' for none
        test="ImageSets/Main/test.txt",
        val="",
        images="JPEGImages",  # the folder of the photos that lists name
        annotations="Annotations",  # the folder of the XML files; '': next to their photos
        label="most",  # 'most': a photo's label is the class of most of its objects; 'only': photos with one class
    ),
)
