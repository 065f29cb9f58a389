"""Draws of photos of each class by seed: a validation split, or a smaller one."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from absl import logging

from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError


def per_class(records: Sequence[Record]) -> dict[int, list[int]]:
    """Return label -> the positions of its photos in `records`, labels in ascending order."""
    positions = defaultdict(list)
    for position, record in enumerate(records):
        positions[record.label].append(position)
    return dict(sorted(positions.items()))


def choose(positions: Sequence[int], count: int, seed: int, label: int) -> set[int]:
    """Return `count` random positions of a class; photos of other classes do not change the draw.

    Args:
        positions: of the photos of the class.
        count: at most as many as there are.
        seed: of the run.
        label: of the class.
    """
    order = np.random.Generator(np.random.Philox([seed, max(label, 0)])).permutation(len(positions))
    return {positions[i] for i in order[:count]}


def set_aside(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Return the dataset with `count` photos of every class moved from 'train' to 'val'; both keep their order.

    Raises:
        InputError: there is no 'train', or a 'val' already; or a class would be left without a training photo.
    """
    if "val" in dataset.splits:
        raise InputError(
            f"--config.data.val_per_class={count}, but the dataset has lists of 'val'; expected one of the two"
        )
    if "train" not in dataset.splits:
        raise InputError("--config.data.val_per_class: this dataset has no training photos to set aside")
    records, chosen = dataset.splits["train"], set()
    for label, positions in per_class(records).items():
        if len(positions) <= count:
            raise InputError(
                f"--config.data.val_per_class={count}: class {dataset.classes[label]!r} has {len(positions)} training "
                f"photos; expected at least {count + 1}"
            )
        chosen |= choose(positions, count, seed, label)
    train = [record for position, record in enumerate(records) if position not in chosen]
    val = [record for position, record in enumerate(records) if position in chosen]
    return dataset._replace(splits=dataset.splits | {"train": train, "val": val})


def keep_per_class(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Return `count` photos of every class, in their order; classes with fewer keep them all and are logged.

    The validation photos of Choe et al. (CVPR 2020), num_val_sample_per_class in their code.
    """
    positions_of, chosen = per_class(records), set()
    for label, positions in positions_of.items():
        chosen |= choose(positions, count, seed, label)
    fewer = sum(len(positions) < count for positions in positions_of.values())
    if fewer:
        logging.warning("%d of %d classes have fewer than %d photos and keep them all", fewer, len(positions_of), count)
    return [record for position, record in enumerate(records) if position in chosen]


def require_sound(dataset: Dataset) -> None:
    """Raise InputError unless a dataset is complete and unambiguous.

    Raises:
        InputError: there is no class or no photo; a photo is listed twice, in one split or two; a class has no training
            photo.
    """
    if not dataset.classes or not any(dataset.splits.values()):
        raise InputError("the dataset is empty; expected at least one photo of one class")
    names = Counter(record.path for records in dataset.splits.values() for record in records)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise InputError(f"{len(twice)} photos are listed more than once, the first is {twice[0]}")
    require_every_class(dataset)


def require_every_class(dataset: Dataset) -> None:
    """Raise InputError if a class has no training photo; a dataset without labels or training photos is valid.

    Raises:
        InputError: a class has no training photo.
    """
    if "train" not in dataset.splits:
        return
    present = {record.label for record in dataset.splits["train"]}
    if present == {-1}:
        return
    missing = [name for label, name in enumerate(dataset.classes) if label not in present]
    if missing:
        more = f", nor have {len(missing) - 1} others" if len(missing) > 1 else ""
        raise InputError(f"class {missing[0]!r} has no training photo{more}; expected at least one for each class")
