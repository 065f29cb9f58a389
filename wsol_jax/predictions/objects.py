"""Several objects in a photo: boxes with masks, their Parquet table and their COCO JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import StoreError, readable
from wsol_jax.predictions.coco import annotation, write_annotations
from wsol_jax.predictions.predictions import image_sizes
from wsol_jax.predictions.table import CORNERS

_BITS = 5  # in a character of COCO's text
_CHARACTERS = 7  # for the longest run: 2^34 pixels


class Objects(NamedTuple):
    """The m objects of n photos, in the order of the photos; of one photo, the surest first.

    Attributes:
        photo: int64 [m], the number of the photo that each is in.
        box: float64 [m, 4], normalised xyxy.
        score: float32 [m].
        mask: of each, its pixels in the upright photo as COCO's text, see `runs`.
        area: int64 [m], the number of these pixels.
    """

    photo: np.ndarray
    box: np.ndarray
    score: np.ndarray
    mask: Sequence[str]
    area: np.ndarray


def in_photo(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of a whole photo in its pixels, bool [height, width], each as the cell that holds its middle.

    Args:
        mask: bool [h, w].
        size: width and height of the photo, pixels.
    """
    columns, rows = (
        ((np.arange(pixels) + 0.5) * cells / pixels).astype(int)
        for pixels, cells in zip(size, mask.shape[::-1], strict=True)
    )
    return mask[np.ix_(rows, columns)]


def runs(mask: np.ndarray) -> str:
    """Return a mask bool [h, w] as COCO's text of runs (`counts` of an RLE), as `pycocotools.mask.encode` does.

    Runs of background and object in turn, column by column, the first of background. From the fourth on, a number is
    the difference to the last run but one. A character is five bits of a number in two's complement, lowest first, a
    sixth bit if another character follows, and 48.
    """
    pixels = np.concatenate([[False], mask.ravel(order="F")])
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]), mask.size)
    lengths = np.diff(ends, prepend=0)
    numbers = lengths - np.concatenate([[0, 0, 0], lengths[1:-2]])[: len(lengths)]
    place = np.arange(_CHARACTERS)
    limits = 1 << (_BITS * (place + 1) - 1)
    last = ((numbers[:, None] >= limits) | (numbers[:, None] < -limits)).sum(axis=1)[:, None]
    codes = (numbers[:, None] >> (_BITS * place)) & 0x1F | np.where(place < last, 0x20, 0)
    return (codes + 48)[place <= last].astype(np.uint8).tobytes().decode("ascii")


def write_objects(path: Path, records: Sequence[Record], objects: Objects) -> None:
    """Write a Parquet file of one row per object, whole or not at all.

    The columns are image and label of the photo, x0, y0, x1, y1 (pixels of the original image), score, and the mask:
    its text, its area, and the width and height of the photo, all in pixels.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records.
        objects: of these photos.
    """
    sizes = image_sizes(records)[objects.photo]
    pixels = boxes.scale(objects.box, sizes)
    columns = {
        "image": pa.array([records[i].path for i in objects.photo], pa.string()),
        "label": pa.array([records[i].label for i in objects.photo], pa.int32()),
        **{name: pa.array(pixels[:, i]) for i, name in enumerate(CORNERS)},
        "score": pa.array(objects.score, pa.float32()),
        "mask": pa.array(objects.mask, pa.string()),
        "area": pa.array(objects.area, pa.int64()),
        "width": pa.array(sizes[:, 0].astype(np.int32)),
        "height": pa.array(sizes[:, 1].astype(np.int32)),
    }
    write_atomically(path, lambda file: pq.write_table(pa.table(columns), file))


def read_objects(path: Path, records: Sequence[Record]) -> Objects:
    """Return the objects of a table of `write_objects`.

    Args:
        path: the Parquet file.
        records: those that it was written for, in the same order.

    Raises:
        InputError: the file is damaged, or of other photos.
    """
    number = {record.path: i for i, record in enumerate(records)}
    try:
        table = pq.read_table(readable(path)).to_pydict()
        photo = np.array([number[image] for image in table["image"]], np.int64)
        pixels = np.array([table[name] for name in CORNERS], np.float64).T.reshape(-1, 4)
        score, area = np.array(table["score"], np.float32), np.array(table["area"], np.int64)
        return Objects(photo, pixels / np.tile(image_sizes(records)[photo], 2), score, table["mask"], area)
    except StoreError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a table of objects of these photos; redo the stage objects") from error


def write_coco_objects(
    path: Path, records: Sequence[Record], objects: Objects, labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Write objects as a COCO file of instances with masks, whole or not at all; see `coco.write_coco`.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records; a photo without objects is an image without annotations.
        objects: of these photos.
        labels: int [n], the class of each photo's objects, see `box_classes`; those of no class have no annotation.
        classes: the classes' names.
    """
    rectangles = boxes.xyxy_to_xywh(boxes.scale(objects.box, image_sizes(records)[objects.photo])).round(3)
    annotations = [
        annotation(number, photo + 1, int(labels[photo]), rectangle.tolist(), float(area))
        | {"segmentation": {"size": [*records[photo].size[::-1]], "counts": mask}, "score": float(score)}
        for number, (photo, rectangle, score, mask, area) in enumerate(
            zip(objects.photo.tolist(), rectangles, objects.score, objects.mask, objects.area, strict=True), start=1
        )
        if labels[photo] >= 0
    ]
    write_annotations(path, records, annotations, classes)
