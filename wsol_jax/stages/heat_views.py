"""Heat maps behind the pseudo boxes: of one network by DDT as published, of C2AM, or fused from several such views."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks, processes
from wsol_jax.arrays import read_array
from wsol_jax.backbones import BACKBONES
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.pseudo.ddt import Forward
from wsol_jax.pseudo.fusion import fuse
from wsol_jax.pseudo.heat_maps import apply_heat_maps, fit_heat_maps, make_forward, make_reader
from wsol_jax.stages import c2am_maps
from wsol_jax.stages.context import Context
from wsol_jax.stages.workdir import direction_file, view_heat_file

VIEW_KEYS = ("source", "arch", "arch_kwargs", "weights", "dtype", "layer", "size")  # of `pseudo`, for a view to change
COMPUTED = ("ddt", "c2am")  # the sources of a view


def views_of(config: ConfigDict) -> dict[str, ConfigDict]:
    """Return the views of `pseudo`: name -> its keys with that view's changes; without any, `pseudo` itself, named ''.

    A view is from DDT unless its `source` is 'c2am'; where that is the source of all boxes, there are no others.
    """
    if not config.views or config.source == "c2am":
        return {"": config}
    views = {}
    for name, changes in config.views.items():
        view = config.copy_and_resolve_references().unlock()
        view.source = "ddt"
        with view.ignore_type():
            for key, value in changes.items():
                view[key] = value
        views[name] = view.lock()
    return views


def uses_c2am(config: ConfigDict) -> bool:
    """Return whether a view of `pseudo` is from C2AM."""
    return any(view.source == "c2am" for view in views_of(config).values())


def check_views(config: ConfigDict) -> None:
    """Raise InputError for a view whose name is no file name, or with keys or values that are never valid."""
    for name, changes in config.views.items():
        unknown = sorted(set(changes) - set(VIEW_KEYS)) if isinstance(changes, ConfigDict) else ["it"]
        if unknown or name != Path(name).name or name.startswith("."):
            raise InputError(
                f"views.{name}: {unknown[0] if unknown else name!r} is not valid; expected a file name with a group of "
                f"{', '.join(VIEW_KEYS)}"
            )
    of_c2am = [name for name, changes in config.views.items() if changes.get("source") == "c2am"]
    if len(of_c2am) > 1:
        raise InputError(f"views: {' and '.join(of_c2am)} are from c2am; expected one at most")
    for name, view in views_of(config).items():
        with checks.prefixed(f"views.{name}." if name else ""):
            if name:
                checks.one_of(view, "source", COMPUTED)
            checks.one_of(view, "arch", BACKBONES)
            checks.one_of(view, "dtype", ("float32", "bfloat16"))
            checks.require(view, "weights", isinstance(view.weights, str), "a file or pip:DISTRIBUTION")
            checks.require(view, "layer", isinstance(view.layer, str), "the name of a stage")
            checks.require(view, "arch_kwargs", isinstance(view.arch_kwargs, ConfigDict), "a group of keys")
            checks.require(view, "size", type(view.size) is int and view.size > 0, "a positive number")


def make_networks(
    config: ConfigDict, context: Context, report: Callable[[str], None] = lambda line: None
) -> dict[str, Forward]:
    """Return the pretrained network of every view of DDT, by name.

    Args:
        config: the keys of `pseudo`.
        context: of the stage.
        report: is called with a line about the weights of each.

    Raises:
        InputError: a view has no such stage, or its weights are not those of its network.
    """
    networks = {}
    for name, view in views_of(config).items():
        if view.source == "c2am":
            continue
        with checks.prefixed(f"views.{name}: " if name else ""):
            networks[name] = make_forward(view, context.seed, context.mesh, report)
    return networks


def heat_maps(config: ConfigDict, context: Context) -> Iterator[tuple[str, np.ndarray | None]]:
    """Yield each split with its heat maps, float32 [n, h, w], those of several views fused; training photos first.

    Other photos have heat maps by the statistics of their groups' training photos (PSOL, Table 1). A view passes over
    all photos once; what is written of it is not computed again. C2AM's maps are above zero where they are above its
    threshold. Other processes than the first take part in the work of the devices alone: there the maps are None.
    """
    splits = ("train", *(split for split in context.dataset.splits if split != "train"))
    networks, of_views = make_networks(config, context, logging.info), {split: [] for split in splits}
    for name, view in views_of(config).items():
        if view.source == "c2am":
            of_view = c2am_maps.heat_maps(config.c2am, config.batch_size, context)
        else:
            of_view = ((split, _view_heat(name, view, networks[name], split, context)) for split in splits)
        for split, heat in of_view:
            of_views[split].append(heat)
            processes.wait_for_first()  # here, and not through the devices in the work of the next split
    for split in splits:
        of_split = of_views.pop(split)
        yield split, fuse(of_split, context.workdir) if processes.is_first() else None


def _view_heat(name: str, view: ConfigDict, forward: Forward, split: str, context: Context) -> np.ndarray | None:
    """A view's heat maps [n, h, w] of a split, in the first process."""
    records = context.dataset.splits[split]
    by_class = view.group == "class" and all(record.label >= 0 for record in context.dataset.splits["train"])
    group_names = context.dataset.classes if by_class else ["dataset"]
    files = [direction_file(context.workdir, name, group, title) for group, title in enumerate(group_names)]
    groups = np.array([record.label if by_class else 0 for record in records])
    title = f"DDT {name} {split}" if name else f"DDT {split}"
    read = make_reader(context.dataset.read, records, view.size, view.batch_size, title, context.mesh)
    if split == "train":
        return fit_heat_maps(forward, read, groups, files, view)
    if not name:
        return apply_heat_maps(forward, read, groups, files)
    kept = view_heat_file(context.workdir, name, split)
    if not processes.from_first(kept.exists):
        heat = apply_heat_maps(forward, read, groups, files)
        write_atomically(kept, lambda file: np.save(file, heat))
    return read_array(kept, (len(records), None, None), mapped=True) if processes.is_first() else None
