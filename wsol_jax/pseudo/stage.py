"""The stage that makes pseudo boxes: from DDT, from the truth, or from a file; psol.py has those of another run's maps.

A box's score is the mean heat of its region in standard deviations of its group's projections; 1 for true boxes.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES, trunk
from wsol_jax.backbones.initialise import initialise
from wsol_jax.backbones.pretrained import load_weights
from wsol_jax.data import plan
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.render import render
from wsol_jax.errors import InputError
from wsol_jax.files import file_name, write_atomically
from wsol_jax.methods.networks import preparation
from wsol_jax.progress import track
from wsol_jax.pseudo import ddt
from wsol_jax.pseudo.ddt import Chunk, Direction
from wsol_jax.pseudo.regions import heat_box
from wsol_jax.tables import Predictions, read_predictions, write_predictions
from wsol_jax.training import devices


def make_pseudo_boxes(config: ConfigDict, seed: int, dataset: Dataset, folder: Path, mesh: Mesh) -> None:
    """Writes boxes.parquet for the training photos and boxes_SPLIT.parquet for the others that can have some.

    Under DDT the other splits' boxes come from the statistics of their class's training photos (PSOL, Table 1), and
    heat_SPLIT.npy holds their heat maps, float16 [n, h, w].
    """
    folder.mkdir(parents=True, exist_ok=True)
    if config.source == "ddt":
        _ddt_boxes(config, seed, dataset, folder, mesh)
        return
    for split, records in dataset.splits.items():
        if config.source == "truth":
            boxes = _true_boxes(records)
        elif split == "train":
            boxes = read_predictions(Path(config.source), records, ("box",))
        else:
            continue
        write_predictions(boxes_file(folder, split), records, boxes)


def write_drawn(folder: Path, split: str, records: Sequence[Record], boxes: Predictions, heat: np.ndarray) -> None:
    """Writes the pseudo boxes of the n photos of a split, and the heat maps [n, h, w] that they were drawn from."""
    write_predictions(boxes_file(folder, split), records, boxes)
    write_atomically(heat_file(folder, split), lambda file: np.save(file, heat.astype(np.float16)))
    logging.info("pseudo boxes of %s: %d photos, %d whole images", split, len(records), boxes.fallback.sum())


def boxes_file(folder: Path, split: str) -> Path:
    """Where the pseudo boxes of a split are."""
    return folder / ("boxes.parquet" if split == "train" else f"boxes_{split}.parquet")


def heat_file(folder: Path, split: str) -> Path:
    """Where the heat maps of a split are."""
    return folder / f"heat_{split}.npy"


def _true_boxes(records: Sequence[Record]) -> Predictions:
    for record in records:
        if not len(record.boxes):
            raise InputError(f"pseudo.source is 'truth' but {record.path} has no true box")
    boxes = np.stack([r.boxes[0] for r in records])
    return Predictions(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), bool))


def _ddt_boxes(config: ConfigDict, seed: int, dataset: Dataset, folder: Path, mesh: Mesh) -> None:
    forward = make_forward(config, seed, mesh)
    names = dataset.classes if config.group == "class" else ["dataset"]
    files = [folder / "ddt" / f"{file_name(i, name)}.npz" for i, name in enumerate(names)]
    for split in ("train", *(s for s in dataset.splits if s != "train")):
        records = dataset.splits[split]
        groups = np.array([r.label if config.group == "class" else 0 for r in records])
        read = make_reader(config, dataset, records, split, mesh)
        find = _find_heat if split == "train" else _apply_heat
        heat, scale = find(config, forward, read, groups, files)
        boxes = _boxes_of(heat, scale, config)
        write_drawn(folder, split, records, boxes, heat)


def make_forward(config: ConfigDict, seed: int, mesh: Mesh) -> ddt.Forward:
    """The network of configs/base.py's `pseudo` up to `layer`, compiled, its batch spread over the devices."""
    network = trunk(config.arch, config.dtype, **config.arch_kwargs)
    layer = config.layer or list(network.stages)[-1]
    if layer not in network.stages:
        raise InputError(f"pseudo.layer is {config.layer!r}; {config.arch} has {', '.join(network.stages)}")
    variables = initialise(jax.random.key(seed), network, (1, config.size, config.size, 3))
    if config.weights:
        variables, message = load_weights(network, variables, config.weights, config.arch, new_head=True)
        logging.info("%s", message)
    variables = devices.replicate(variables, mesh)
    prepare = preparation(BACKBONES[config.arch], config.dtype)
    features = jax.jit(lambda variables, image: network.apply(variables, prepare(image), False)[layer])
    return partial(features, variables)


def make_reader(config: ConfigDict, dataset: Dataset, records: Sequence[Record], what: str, mesh: Mesh) -> ddt.Reader:
    """Whole photos, squashed to a square (PSOL: 448), in chunks of `batch_size` on the devices."""
    rows = devices.local_slice(config.batch_size, mesh)

    def read(indices: np.ndarray) -> Iterator[Chunk]:
        size = config.batch_size
        views = plan.evaluation_views(indices, plan.WHOLE, size, rows)
        batches = render(dataset.read, records, views, config.size, rows.stop - rows.start)
        starts = range(0, len(indices), size)
        on_device = devices.prefetch(batches, mesh)
        for start, batch in zip(track(starts, len(indices), f"DDT {what}", weight=size), on_device, strict=True):
            index = np.resize(indices[start : start + size], size)
            yield Chunk(index, np.arange(size) < len(indices) - start, batch.image)

    return read


def _find_heat(
    config: ConfigDict, forward: ddt.Forward, read: ddt.Reader, groups: np.ndarray, files: Sequence[Path]
) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps [n, h, w] of the training photos and the deviations [n] of their groups.

    A group's statistics are written when they are found, with its heat maps: a run that was cut off goes on from the
    next group.
    """
    done = {group for group in np.unique(groups).tolist() if files[group].exists()}
    if done:
        logging.info("DDT: %d groups are already done", len(done))
    for group, found, _, heat in ddt.find_directions(
        forward, read, groups, done, config.batch_size, config.sign, config.max_bytes, devices.fetch, logging.info
    ):
        write_atomically(files[group], lambda f, d=found, h=heat: np.savez(f, **d._asdict(), heat=h))
    heat, scale = [None] * len(groups), np.zeros(len(groups))
    for group in np.unique(groups).tolist():
        members = np.flatnonzero(groups == group)
        with np.load(files[group], allow_pickle=False) as saved:
            for index, one in zip(members, saved["heat"], strict=True):
                heat[index] = one
            scale[members] = saved["deviation"]
    return np.stack(heat), scale


def _apply_heat(
    config: ConfigDict, forward: ddt.Forward, read: ddt.Reader, groups: np.ndarray, files: Sequence[Path]
) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps [n, h, w] of other photos under their groups' statistics, and the groups' deviations [n]."""
    known = {group: read_direction(files[group]) for group in np.unique(groups).tolist() if files[group].exists()}
    heat = np.concatenate([maps for _, maps in ddt.apply_directions(forward, read, groups, known, devices.fetch)])
    return heat, np.array([known[g].deviation if g in known else 0.0 for g in groups.tolist()])


def read_direction(file: Path) -> Direction:
    """A group's statistics as the stage kept them."""
    with np.load(file, allow_pickle=False) as saved:
        return Direction(*(saved[name][()] for name in Direction._fields))


def _boxes_of(heat: np.ndarray, scale: np.ndarray, config: ConfigDict) -> Predictions:
    found = [heat_box(one, config.threshold, config.size) for one in heat]
    boxes, score, fallback = (np.array(column) for column in zip(*found, strict=True))
    score = np.divide(score, scale, out=np.zeros(len(score)), where=scale > 0)
    return Predictions(boxes, score.astype(np.float32), fallback)
