"""Heat maps of one network by deep descriptor transformation: of training photos, and of others by their statistics."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from wsol_jax import devices, processes
from wsol_jax.arrays import AGAIN, read_arrays, scratch
from wsol_jax.backbones import BACKBONES, trunk
from wsol_jax.backbones.initialise import initialise
from wsol_jax.data import plan
from wsol_jax.data.records import Record
from wsol_jax.data.render import render
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.methods.networks import backbone_arguments, preparation
from wsol_jax.progress import track
from wsol_jax.pseudo import ddt
from wsol_jax.pseudo.ddt import Chunk, Direction
from wsol_jax.weights.pretrained import load_weights


def make_forward(
    config: ConfigDict, seed: int, mesh: Mesh, report: Callable[[str], None] = lambda line: None
) -> ddt.Forward:
    """Return a pretrained network up to one of its stages, compiled, with batches spread over the devices.

    Args:
        config: `arch`, `arch_kwargs`, `weights`, `dtype`, `layer` and `size` of a view of `pseudo`.
        seed: of the weights that come from no file.
        mesh: the devices.
        report: is called with a line about the origin of the weights.

    Raises:
        InputError: no stage is called `layer`, or the weights are not those of the network.
    """
    network = trunk(config.arch, config.dtype, **backbone_arguments(config))
    layer = config.layer or list(network.stages)[-1]
    if layer not in network.stages:
        raise InputError(f"pseudo.layer is {config.layer!r}; {config.arch} has {', '.join(network.stages)}")
    variables = initialise(jax.random.key(seed), network, (1, config.size, config.size, 3))
    if config.weights:
        variables, message = load_weights(network, variables, config.weights, config.arch, new_head=True)
        report(message)
    variables = devices.replicate(variables, mesh)
    prepare = preparation(BACKBONES[config.arch], config.dtype)
    features = jax.jit(lambda variables, image: network.apply(variables, prepare(image), False)[layer])
    return partial(features, variables)


def make_reader(
    read: Callable[[Record], np.ndarray], records: Sequence[Record], size: int, batch_size: int, name: str, mesh: Mesh
) -> ddt.Reader:
    """Return a reader of whole photos, resized to a square (PSOL: 448), in chunks on the devices.

    Args:
        read: record -> its pixels.
        records: the photos that indices refer to.
        size: side of the square, pixels.
        batch_size: photos in a chunk, over all devices.
        name: of the progress bar.
        mesh: the devices.
    """
    rows = devices.local_slice(batch_size, mesh)

    def chunks(indices: np.ndarray) -> Iterator[Chunk]:
        views = plan.evaluation_views(indices, plan.WHOLE, batch_size, rows)
        batches = render(read, records, views, size, rows.stop - rows.start)
        starts = range(0, len(indices), batch_size)
        on_device = devices.prefetch(batches, mesh)
        for start, batch in zip(track(starts, len(indices), name, weight=batch_size), on_device, strict=True):
            index = np.resize(indices[start : start + batch_size], batch_size)
            valid = np.arange(batch_size) < len(indices) - start
            devices.require_order(batch.index, index[valid])
            yield Chunk(index, valid, batch.image)

    return chunks


def fit_heat_maps(
    forward: ddt.Forward, read: ddt.Reader, groups: np.ndarray, files: Sequence[Path], config: ConfigDict
) -> np.ndarray | None:
    """Compute the statistics of groups of training photos, and the photos' heat maps.

    The statistics of a group are written as soon as they are known, with its heat maps: a run that was cut off
    continues with the next group.

    Args:
        forward: the network.
        read: the n photos.
        groups: int [n], the group of each photo.
        files: of the statistics, by group.
        config: `batch_size`, `sign` and `max_bytes` of `pseudo`.

    Returns:
        Heat maps float32 [n, h, w], many of them in a mapped file, see `arrays.scratch`; None in other processes than
        the first, which take part in the work of the devices alone.
    """
    present, folder = np.unique(groups).tolist(), files[0].parent
    done = set(processes.from_first(lambda: [group for group in present if files[group].exists()]))
    if done:
        logging.info("DDT: %d groups are already done", len(done))
    rules = {"batch_size": config.batch_size, "sign": config.sign, "max_bytes": config.max_bytes}
    rules |= {"fetch": devices.fetch, "log": logging.info, "folder": folder}
    heat = None
    for group, direction, members, maps in ddt.find_directions(forward, read, groups, done=done, **rules):
        write_atomically(files[group], lambda f, d=direction, m=maps: np.savez(f, **d._asdict(), heat=m))
        heat = _with_maps(heat, members, maps, len(groups), folder)
    for group in sorted(done) if processes.is_first() else ():
        members = np.flatnonzero(groups == group)
        maps = _read_maps(files[group], len(members), None if heat is None else heat.shape[1:])
        heat = _with_maps(heat, members, maps, len(groups), folder)
    return heat


def _read_maps(file: Path, count: int, side: tuple[int, ...] | None) -> np.ndarray:
    """The heat maps of `count` photos of a group, of other groups' height and width; None for any."""
    (maps,) = read_arrays(file, ["heat"])
    side = maps.shape[1:] if side is None else side
    if maps.ndim != 3 or maps.dtype.kind != "f" or maps.shape != (count, *side):
        wanted = ", ".join(map(str, (count, *side)))
        raise InputError(f"{file} has maps {maps.dtype} {list(maps.shape)}; expected float32 [{wanted}]; {AGAIN}")
    return maps


def _with_maps(heat: np.ndarray | None, index: np.ndarray, maps: np.ndarray, count: int, folder: Path) -> np.ndarray:
    """The heat maps of `count` photos with those of the photos `index`; for None they are of zeros before."""
    heat = scratch(folder, (count, *maps.shape[1:]), np.float32) if heat is None else heat
    heat[index] = maps
    return heat


def apply_heat_maps(
    forward: ddt.Forward, read: ddt.Reader, groups: np.ndarray, files: Sequence[Path]
) -> np.ndarray | None:
    """Compute heat maps of other photos by the statistics of their groups (PSOL, Table 1).

    Args:
        forward: the network.
        read: the n photos.
        groups: int [n], the group of each photo.
        files: of the statistics, by group; a group without a file has heat maps of zeros.

    Returns:
        Heat maps float32 [n, h, w], as of `fit_heat_maps`.
    """
    groups_with_files = processes.from_first(lambda: [group for group, file in enumerate(files) if file.exists()])
    known = {group: read_direction(files[group]) for group in groups_with_files if group in groups}
    if not known:
        known = {-1: read_direction(files[groups_with_files[0]])}
    heat = None
    for index, maps in ddt.apply_directions(forward, read, groups, known, devices.fetch):
        heat = _with_maps(heat, index, maps, len(groups), files[0].parent)
    return heat


def read_direction(file: Path) -> Direction:
    """Return the statistics of a group from their file.

    Raises:
        InputError: it is damaged, or holds something else.
    """
    statistics = Direction(*(array[()] for array in read_arrays(file, Direction._fields)))
    shapes = [np.shape(value) for value in statistics]
    if len(shapes[0]) != 1 or shapes[0] != shapes[1] or any(shapes[2:]) or statistics.mean.dtype.kind != "f":
        raise InputError(f"{file} has no mean and direction of one length; {AGAIN}")
    return statistics
