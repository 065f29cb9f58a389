"""Models from a run's workdir, or from pretrained weights as they are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import depth
from wsol_jax.data.depth import Levels
from wsol_jax.data.plan import WHOLE
from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.networks import input_size
from wsol_jax.model.model import BOXES, CLASSES, MAPS, Model
from wsol_jax.paths import to_path
from wsol_jax.stages import identity, predict, train
from wsol_jax.stages.map_runs import method_name
from wsol_jax.stages.networks import (
    Ready,
    Trained,
    grad_cam_network,
    make_method,
    make_ready,
    other_run,
    predict_drawing,
    require_whole_photos,
)
from wsol_jax.stages.training import initial_variables
from wsol_jax.stages.workdir import (
    NETWORK_FOLDERS,
    classes_file,
    coco_file,
    config_file,
    levels_file,
    predictions_file,
    pseudo_coco_file,
)
from wsol_jax.weights.pretrained import count_classes


def load(
    run: str | Path | None = None,
    *,
    arch: str = "",
    weights: str = "",
    method: str = "cam",
    stage: str = "",
    classes: Sequence[str] = (),
    arch_kwargs: Mapping[str, Any] | None = None,
    size: int = 0,
    geometry: str = "",
    levels: Levels | None = None,
) -> Model:
    """Return a model that predicts boxes, classes and heat maps for any photos.

    Args:
        run: the workdir of a PSOL, -Joint or score-map run; its keys `predict.*` hold.
        arch: instead of a run, a name in `wsol_jax.backbones.BACKBONES`, with `weights`: score maps and classes of a
            pretrained classifier, without training.
        weights: FILE.safetensors, FILE.npz, FILE.pth or 'pip:DISTRIBUTION', with its last layer.
        method: 'cam', or 'grad_cam' for networks with other layers between their last map and their classes.
        stage: of 'grad_cam', the stage whose map is shown; '' for the last one.
        classes: the names of the classes of `weights`; () for their numbers.
        arch_kwargs: arguments of the backbone, such as {'stride': 16} for maps of more cells.
        size: side of the network's input, pixels; 0 for that of the weights' training.
        geometry: 'resize', the whole photo, as score maps need it, or 'center_crop'; '' for the run's own.
        levels: of black and white, in photos of more than 8 bits; None for those of the run's own photos.

    Raises:
        InputError: there is no finished network in `run`, or the weights are not those of `arch`.
    """
    if (run is None) == (not arch):
        raise InputError("load() expects the workdir of a run, or arch=... and weights=..., one of the two")
    if geometry not in ("", "resize", "center_crop"):
        raise InputError(f"geometry is {geometry!r}; expected 'resize' or 'center_crop'")
    if levels is not None and not (depth.are_levels(levels) and levels[0] != levels[1]):
        raise InputError(f"levels is {levels!r}; expected two different finite numbers, black and white")
    given = depth.levels_of_dataset((), levels) if levels else None
    if run is not None:
        return _from_run(to_path(run), geometry, _levels(to_path(run)) if given is None else given)
    if method not in ("cam", "grad_cam"):
        raise InputError(f"method is {method!r}; expected 'cam' or 'grad_cam', which need no training")
    require_whole_photos(geometry or "resize")
    config = train.defaults().unlock()
    config.update(arch=arch, weights=weights, method=method, size=size, augment="psol", new_head=False)
    config.arch_kwargs, config.grad_cam.stage = ConfigDict(dict(arch_kwargs or {})), stage
    return _from_weights(config, classes, given or {})


def _from_run(workdir: Path, geometry: str, levels: Mapping[str, Levels]) -> Model:
    keys, finished = _predict_keys(workdir), _finished(workdir)
    geometry, classes = geometry or keys.test_geometry, class_names(workdir)
    networks: dict[str, Trained] = {}
    if keys.grad_cam_from or "train" in finished:
        require_whole_photos(geometry)
        if keys.grad_cam_from:
            network = grad_cam_network(keys)
        else:
            network = other_run(workdir, "train", "load")._replace(drawing=predict_drawing(keys))
        ready = make_ready(network, len(classes), geometry)
        title = method_name(network.config, network.drawing)
        return Model(title, classes, {MAPS: ready, CLASSES: ready}, keys.box_threshold, levels)
    for task, own in ((BOXES, "localizer"), (CLASSES, "classifier")):
        name = next((stage for stage in (own, "joint") if stage in finished), None)
        if name:
            networks[task] = other_run(workdir, name, "load")
    if keys.localizer_from:
        networks[BOXES] = other_run(to_path(keys.localizer_from), "localizer", "localizer_from")
    if not networks:
        raise InputError(f"{workdir} has no finished {', '.join(NETWORK_FOLDERS)}; expected the workdir of a run")
    if ignored := [key for key in ("boxes_from", "classes_from") if keys[key]]:
        logging.warning("%s: %s names a table of its own photos; only networks predict others", workdir, ignored[0])
    return Model("PSOL", classes, _psol(networks, keys, len(classes), geometry), keys.box_threshold, levels)


def _psol(networks: Mapping[str, Trained], keys: ConfigDict, classes: int, geometry: str) -> dict[str, Ready]:
    """The networks of a PSOL run as the stage `predict` applies them; a -Joint network passes once for both."""
    ready: dict[str, Ready] = {}
    if BOXES in networks:
        ready[BOXES] = make_ready(networks[BOXES], classes, geometry, mirror=keys.mirror)
    if CLASSES in networks:
        if networks[CLASSES] == networks.get(BOXES) and not keys.ten_crop:
            ready[CLASSES] = ready[BOXES]
        else:
            ready[CLASSES] = make_ready(networks[CLASSES], classes, geometry, ten_crops=keys.ten_crop)
    return ready


def _finished(workdir: Path) -> list[str]:
    saved = {stage: identity.read(workdir, stage) for stage in NETWORK_FOLDERS}
    return [stage for stage, one in saved.items() if one is not None and one.finished]


def _predict_keys(workdir: Path) -> ConfigDict:
    """The keys of `predict`: those it ran with, or else those of the run's configuration."""
    if not workdir.is_dir():
        raise InputError(f"{workdir}: no such folder; expected the workdir of a run")
    saved = identity.read(workdir, "predict")
    try:
        keys = saved.config if saved else json.loads(config_file(workdir).read_text())["predict"]
    except OSError as error:
        raise InputError(f"{workdir} has no {config_file(workdir).name}; expected the workdir of a run") from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{config_file(workdir)} is damaged; expected the configuration of a run") from error
    return ConfigDict(predict.defaults().to_dict() | keys)


def _levels(workdir: Path) -> dict[str, Levels]:
    """The levels of black and white of the run's own photos; {} of runs of older versions, which keep none."""
    file = levels_file(workdir)
    try:
        levels = json.loads(file.read_text()) if file.is_file() else {}
        return {kind: (float(black), float(white)) for kind, (black, white) in levels.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged; expected levels of black and white") from error


def class_names(workdir: Path) -> list[str]:
    """Return the names of the classes of a run, in the order of their numbers.

    Runs of older versions have them in the COCO JSON of their boxes alone.

    Raises:
        InputError: the run keeps none, or their file is damaged.
    """
    tables = [predictions_file(workdir, split) for split in ("test", "train", "val")]
    places = [classes_file(workdir), *map(coco_file, tables), pseudo_coco_file(workdir, "train")]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise InputError(f"{workdir} does not keep the names of its classes; run its stage predict again")
    try:
        content = json.loads(file.read_text())
        return [str(name) for name in content] if isinstance(content, list) else _categories(content)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged; expected the names of classes") from error


def _categories(coco: dict) -> list[str]:
    return [category["name"] for category in sorted(coco["categories"], key=lambda category: category["id"])]


def _from_weights(config: ConfigDict, classes: Sequence[str], levels: Mapping[str, Levels]) -> Model:
    """Score maps and classes of a pretrained classifier, by the keys of `train`."""
    count = count_classes(config.weights, config.arch)
    if classes and len(classes) != count:
        raise InputError(f"classes: {len(classes)} names, but {config.weights} has {count} classes; expected as many")
    method = make_method("train", config, count)
    variables, message = initial_variables(method, config, seed=0)
    logging.info("%s", message)
    ready = Ready(method, variables, WHOLE, input_size(config))
    names = classes or [str(number) for number in range(count)]
    title = METHODS[config.method].title
    return Model(title, names, {MAPS: ready, CLASSES: ready}, predict.defaults().box_threshold, levels)
