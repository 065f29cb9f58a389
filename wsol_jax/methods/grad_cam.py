"""Grad-CAM: the map of any stage of any classifier, weighted by a class's gradient (Selvaraju et al., ICCV 2017)."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method, Prediction, Variables
from wsol_jax.methods.networks import unfrozen
from wsol_jax.methods.stage_gradients import of_logit, stage_gradients


def grad_cam(config: ConfigDict, classes: int) -> Method:
    """Return a plain classifier whose score maps are `heat_maps` of a stage.

    Args:
        config: the keys of `train`, among them `grad_cam`.
        classes: number of classes.

    Raises:
        InputError: the network has no such stage.
    """
    method = classifier(config, classes)
    whole = classifier(unfrozen(config), classes)
    stages = list(whole.module.backbone.stages)
    stage = config.grad_cam.stage or stages[-1]
    if stage not in stages:
        raise InputError(f"grad_cam.stage is {stage!r}; expected one of {', '.join(stages)}")

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        image = whole.prepare(batch.image)
        logits, heat = heat_maps(whole, variables, image, stage, label)
        return Prediction(logits, map=heat)

    return method._replace(predict=predict)


def heat_maps(
    method: Method, variables: Variables, image: jax.Array, stage: str, label: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the logits of photos and the Grad-CAM of one class each (their equation 2).

    It is the positive part of the sum of a stage's channels, each times the mean over space of the gradient of the
    class's logit.

    Args:
        method: a classifier without frozen stages, through which no gradient would pass.
        variables: its parameters and batch statistics.
        image: preprocessed photos [b, h, w, 3].
        stage: the stage whose map is shown.
        label: int [b], see `shown_class`.

    Returns:
        The logits [b, k], and float32 maps [b, h', w'], 0 or more.
    """
    at = stage_gradients(method, variables, image, stage, label, of_logit)
    weights = at.gradients.mean(axis=(1, 2), keepdims=True)
    return at.logits, jnp.maximum((weights * at.features).sum(axis=-1), 0)


GRAD_CAM = Entry(
    "Grad-CAM",
    grad_cam,
    defaults=dict(stage=""),  # the stage whose map is shown; '' for the last one
)
