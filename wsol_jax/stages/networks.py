"""The networks that stages train: their method, their checkpoints, in this run or another."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, FrozenConfigDict

from wsol_jax.backbones.initialise import shapes
from wsol_jax.data.plan import test_window
from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.c2am import c2am
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.dawsol.method import dawsol
from wsol_jax.methods.drawings import OWN_MAPS, Drawing, drawn
from wsol_jax.methods.joint import joint
from wsol_jax.methods.localizer import localizer
from wsol_jax.methods.method import Method, Prediction, Variables
from wsol_jax.methods.mirrored import mirrored
from wsol_jax.methods.networks import input_size, resize_size, unfrozen
from wsol_jax.methods.ten_crop import ten_crop
from wsol_jax.paths import to_path
from wsol_jax.stages import identity
from wsol_jax.stages.context import Context
from wsol_jax.stages.workdir import best_folder, checkpoints_folder
from wsol_jax.training.checkpoints import load_variables
from wsol_jax.training.predict import predict_photos

LAST = "last"  # `train.select`: of the last step


class Trained(NamedTuple):
    """A network that a stage trained.

    Attributes:
        stage: whose method it runs.
        config: the keys of that stage, as they were then.
        workdir: of its run.
        checkpoints: the folder of its checkpoints.
        drawing: of its score maps.
    """

    stage: str
    config: ConfigDict
    workdir: Path
    checkpoints: Path
    drawing: Drawing = OWN_MAPS


class Ready(NamedTuple):
    """A network that is ready to predict, and the part of a photo that it sees.

    Attributes:
        method: that predicts.
        variables: its parameters and batch statistics, numpy arrays.
        window: float64 [4], the visible part of each photo, normalised xyxy.
        size: side of the square that this part is resized to, pixels.
    """

    method: Method
    variables: Variables
    window: np.ndarray
    size: int


def trained(stage: str, config: ConfigDict, workdir: Path) -> Trained:
    """Return the network that a stage of the run in `workdir` trained, of the last step or of the best epoch."""
    folder = checkpoints_folder if config.get("select", LAST) == LAST else best_folder
    return Trained(stage, config, workdir, folder(workdir, stage))


def make_method(stage: str, config: ConfigDict, classes: int, drawing: Drawing = OWN_MAPS) -> Method:
    """Return the method that a stage trains.

    Args:
        stage: 'localizer', 'classifier', 'joint', 'train' or 'c2am'.
        config: the keys of that stage.
        classes: number of classes.
        drawing: of the score maps of 'train', for predictions.

    Raises:
        InputError: the maps of this method or network cannot be drawn so.
    """
    if stage in ("localizer", "c2am"):
        return (localizer if stage == "localizer" else c2am)(config)
    if stage == "train":
        config = config if drawing == OWN_MAPS else unfrozen(config)
        method = METHODS[config.method].make(config, classes)
        method = method if drawing == OWN_MAPS else drawn(method, config, drawing)
        return dawsol(method, config, classes) if "dawsol" in config and config.dawsol.use else method
    return {"classifier": classifier, "joint": joint}[stage](config, classes)


def other_run(workdir: Path, stage: str, key: str) -> Trained:
    """Return the network of a stage of another run, trained on any photos.

    Args:
        workdir: of the other run.
        stage: that trained it.
        key: that names the workdir, for the error.

    Raises:
        InputError: the stage is not finished there, or was run by a version with other keys.
    """
    saved = identity.read(workdir, stage)
    if saved is None or not saved.finished:
        raise InputError(f"{key}: {workdir} has no finished {stage}; expected the workdir of a run")
    config = ConfigDict(saved.config)
    try:
        make_method(stage, config, classes=1)
    except AttributeError as error:
        raise InputError(f"{key}: the {stage} of {workdir} was trained by another version of this program") from error
    return trained(stage, config, workdir)


def predict_drawing(config: ConfigDict) -> Drawing:
    """Return the drawing that the keys of `predict` name."""
    return Drawing(config.maps, config.maps_stage, config.bagcam_guided)


def grad_cam_network(config: ConfigDict) -> Trained:
    """Return the classifier of the PSOL run `grad_cam_from`, whose maps are Grad-CAM at `grad_cam_stage`, or drawn.

    Args:
        config: the keys of `predict`.

    Raises:
        InputError: as `other_run`.
    """
    other = other_run(to_path(config.grad_cam_from), "classifier", "grad_cam_from")
    keys = other.config.to_dict() | {"method": "grad_cam", "grad_cam": {"stage": config.grad_cam_stage}}
    return other._replace(stage="train", config=ConfigDict(keys), drawing=predict_drawing(config))


def require_classes(network: Trained, key: str, context: Context) -> None:
    """Raise unless another run's network has as many classes as these photos.

    Args:
        network: its checkpoint holds the number of classes.
        key: that names its workdir, for the error.
        context: has the photos.

    Raises:
        InputError: it has more or fewer classes, or its checkpoint is another network's.
    """
    classes, size = len(context.dataset.classes), input_size(network.config)
    module = make_method(network.stage, network.config, classes, network.drawing).module
    params = flatten_dict(load_variables(network.checkpoints)["params"])
    for path, expected in flatten_dict(shapes(module, (1, size, size, 3))["params"]).items():
        if path not in params:
            raise InputError(
                f"{key}: the network of {network.workdir} has no {'.'.join(path)}; expected one of its configuration"
            )
        if params[path].shape != expected.shape:
            raise InputError(
                f"{key}: the network of {network.workdir} has {params[path].shape[-1]} classes; expected {classes}, "
                "as many as these photos have"
            )


def require_whole_photos(geometry: str) -> None:
    """Raise InputError unless score maps are of whole photos, as their boxes and metrics take them to be."""
    if geometry != "resize":
        raise InputError(f"test_geometry is {geometry!r}; expected 'resize': score maps are of whole photos")


def tested(
    method: Method, config: ConfigDict, geometry: str, ten_crops: bool = False, mirror: bool = False
) -> tuple[Method, np.ndarray, int]:
    """Return a method as it predicts, the part of a photo that it sees, see `test_window`, and the side of its input.

    Args:
        method: of `make_method`.
        config: the keys of its training.
        geometry: see `test_window`.
        ten_crops: see `predict_split`.
        mirror: see `predict_split`.
    """
    size, resized = input_size(config), resize_size(config)
    window = test_window(geometry, size / resized)
    if ten_crops:
        method, window, size = ten_crop(method, size), test_window("resize", 1.0), resized
    return mirrored(method) if mirror else method, window, size


def predict_split(
    network: Trained,
    split: str,
    context: Context,
    *,
    geometry: str,
    batch_size: int,
    ten_crops: bool = False,
    mirror: bool = False,
    of_own_class: bool = False,
) -> Prediction | None:
    """Predict for every photo of a split.

    Args:
        network: the network.
        split: whose photos.
        context: has the photos.
        geometry: the part of a photo that the network sees, see `test_window`.
        batch_size: over all devices.
        ten_crops: average the classes over ten crops of each photo, see `ten_crop`.
        mirror: average the box with that of the mirror image, see `mirrored`.
        of_own_class: maps are those of the photos' labels, not of the most probable classes.

    Returns:
        A Prediction of numpy arrays, in the order of the split's records; None in other processes than the first.
    """
    ready = make_ready(network, len(context.dataset.classes), geometry, ten_crops, mirror)
    return predict_photos(
        ready.method,
        ready.variables,
        context.dataset,
        context.dataset.splits[split],
        window=ready.window,
        size=ready.size,
        batch_size=batch_size,
        name=f"{network.stage}, {split}",
        mesh=context.mesh,
        of_own_class=of_own_class,
        folder=context.workdir,
    )


def make_ready(network: Trained, classes: int, geometry: str, ten_crops: bool = False, mirror: bool = False) -> Ready:
    """Return a trained network with its last or its best checkpoint, ready to predict.

    Args:
        network: the network.
        classes: number of classes.
        geometry: the part of a photo that the network sees, see `test_window`.
        ten_crops: average the classes over ten crops of each photo, see `ten_crop`.
        mirror: average the box with that of the mirror image, see `mirrored`.

    Raises:
        InputError: there is no checkpoint, it cannot be read, or is of another network.
    """
    keys = FrozenConfigDict(network.config)
    method, window, size, expected = _predicting(
        network.stage, keys, classes, network.drawing, geometry, ten_crops, mirror
    )
    return Ready(method, load_variables(network.checkpoints, method.memory, expected), window, size)


@lru_cache(maxsize=8)
def _predicting(
    stage: str, config: FrozenConfigDict, classes: int, drawing: Drawing, geometry: str, ten_crops: bool, mirror: bool
) -> tuple[Method, np.ndarray, int, Variables]:
    """A method as it predicts, and its shapes: one and the same for all splits, which share what is compiled for it."""
    method, window, size = tested(make_method(stage, config, classes, drawing), config, geometry, ten_crops, mirror)
    return method, window, size, shapes(method.module, (1, size, size, 3))
