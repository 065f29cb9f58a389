"""The results of a run for every photo of a split, from which intervals and differences of runs are computed.

A row of the Parquet file is a photo, in the order of its records: `image`, `label`, `digest` (of its annotations), a
column for each metric of one box a photo (true, false, or empty where it is not defined) and, for score maps, `reached`
(the number of IoUs 0.3, 0.5, 0.7 that the largest contour's box and the best of every contour's reach at each of 255
levels), `highest`, `has_truth`, `top1`, and `object` and `background` (pixels by score). That is at most 5 KB a photo
of 224 x 224 pixels and 1000 thresholds, before compression.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wsol_jax.data.records import Record, digest
from wsol_jax.errors import InputError
from wsol_jax.evaluation import bootstrap, maps
from wsol_jax.evaluation.map_boxes import EVERY, LARGEST, LEVELS, MapBoxes
from wsol_jax.evaluation.map_pixels import PixelScores
from wsol_jax.files import write_atomically
from wsol_jax.paths import StoreError, readable

DIGEST = 16  # characters
PHOTO = ("image", "label", "digest")
MAP = ("reached", "highest", "has_truth", "top1")
PIXELS = ("object", "background")
OF_MAPS = {*MAP, *PIXELS}


class PhotoResults(NamedTuple):
    """The results of n photos.

    Attributes:
        image: the photos' paths, relative to the dataset's root.
        digest: of each photo's label and annotations.
        hits: metric of one box a photo -> float64 [n], 1 if it is right, 0 if not, NaN where it is not defined.
        of_maps: of score maps, LARGEST and EVERY alone; None if there are none.
    """

    image: list[str]
    digest: list[str]
    hits: dict[str, np.ndarray]
    of_maps: maps.MapResults | None = None


def statistic(results: PhotoResults, step: float, chosen: maps.Chosen = MappingProxyType({})) -> bootstrap.Statistic:
    """Return the statistic of all metrics, percent, for the bootstrap.

    Args:
        results: of n photos.
        step: between the thresholds of a map.
        chosen: fixed thresholds of maps, see `maps.statistic`.
    """
    parts = [bootstrap.means({name: 100 * hit for name, hit in results.hits.items()})]
    if results.of_maps is not None:
        parts.append(maps.statistic(results.of_maps, step, chosen))
    return lambda times: {name: value for part in parts for name, value in part(times).items()}


def write(
    path: Path, records: Sequence[Record], hits: Mapping[str, np.ndarray], results: maps.MapResults | None
) -> None:
    """Write the results of a split.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records.
        hits: see `PhotoResults`.
        results: of the score maps of the same photos, if there are some.
    """
    columns = {
        "image": pa.array([record.path for record in records], pa.string()),
        "label": pa.array([record.label for record in records], pa.int32()),
        "digest": pa.array([digest([record])[:DIGEST] for record in records], pa.string()),
    }
    columns |= {name: _maybe(hit) for name, hit in hits.items()}
    if results is not None:
        boxes = results.boxes
        columns["reached"] = _rows(boxes.reached[:, [LARGEST, EVERY]])
        columns |= {
            "highest": pa.array(boxes.highest),
            "has_truth": pa.array(boxes.has_truth),
            "top1": _maybe(boxes.top1),
        }
        if results.pixels is not None:
            columns |= {name: _rows(counts) for name, counts in zip(PIXELS, results.pixels, strict=True)}
    write_atomically(path, lambda file: pq.write_table(pa.table(columns), file, compression="zstd"))


def read(path: Path) -> PhotoResults:
    """Return the results of a file of `write`.

    Raises:
        InputError: it is damaged.
    """
    try:
        table = pq.read_table(readable(path))
        column = {name: table.column(name).combine_chunks() for name in table.column_names}
        hits = {name: _floats(values) for name, values in column.items() if name not in OF_MAPS | set(PHOTO)}
        of_maps = None
        if "reached" in column:
            reached = _matrix(column["reached"]).reshape(-1, 2, LEVELS)
            boxes = MapBoxes(
                reached, *(column[name].to_numpy(zero_copy_only=False) for name in MAP[1:3]), _floats(column["top1"])
            )
            pixels = PixelScores(*(_matrix(column[name]) for name in PIXELS)) if "object" in column else None
            of_maps = maps.MapResults(boxes, pixels)
        return PhotoResults(column["image"].to_pylist(), column["digest"].to_pylist(), hits, of_maps)
    except StoreError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} is damaged ({reason}); redo the stage evaluate of its run") from error


def first_difference(a: PhotoResults, b: PhotoResults) -> str:
    """Return the first difference between the photos of two results, in words; '' if they are the same.

    Args:
        a: of n photos.
        b: of m photos.
    """
    for number, (one, other) in enumerate(zip(a.image, b.image, strict=False), start=1):
        if one != other:
            return f"photo {number} is {other}, and there {one}"
    if len(a.image) != len(b.image):
        return f"it has {len(b.image)} photos, and there are {len(a.image)}"
    changed = [image for image, one, other in zip(a.image, a.digest, b.digest, strict=True) if one != other]
    return f"{changed[0]} has another label, size, true box or mask" if changed else ""


def _maybe(hit: np.ndarray) -> pa.Array:
    return pa.array(hit == 1, pa.bool_(), mask=np.isnan(hit))


def _floats(values: pa.Array) -> np.ndarray:
    return values.cast(pa.int8()).to_numpy(zero_copy_only=False).astype(np.float64)


def _rows(values: np.ndarray) -> pa.Array:
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def _matrix(values: pa.Array) -> np.ndarray:
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
