"""Grad-CAM: the map of any stage of any classifier, weighted by a class's gradient (Selvaraju et al., ICCV 2017)."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods.class_maps import shown_class
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method, Prediction, Variables


def grad_cam(config: ConfigDict, classes: int) -> Method:
    """Return a plain classifier whose score maps are `heat_maps` of a stage.

    Args:
        config: the keys of `train`, among them `grad_cam`.
        classes: number of classes.

    Raises:
        InputError: the network has no such stage.
    """
    method = classifier(config, classes)
    unfrozen = ConfigDict(config.to_dict())
    unfrozen.update(freeze="", trainable="all")
    whole = classifier(unfrozen, classes)
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

    def chosen_logits(added: dict[str, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        state = variables | {"perturbations": {"backbone": added}}
        outputs, _ = method.network(state, image, None, None, False)
        logits = outputs.logits["classes"]
        chosen = shown_class(logits, label)
        return jnp.take_along_axis(logits, chosen[:, None], axis=-1).sum(), (logits, outputs.stages[stage])

    maps = jax.eval_shape(lambda: method.network(variables, image, None, None, False)[0].stages)
    nothing = {name: jnp.zeros(maps[name].shape, maps[name].dtype) for name in method.module.backbone.stages}
    gradients, (logits, features) = jax.grad(chosen_logits, has_aux=True)(nothing)
    weights = gradients[stage].astype(jnp.float32).mean(axis=(1, 2), keepdims=True)
    return logits, jnp.maximum((weights * features).sum(axis=-1), 0)


GRAD_CAM = Entry(
    "Grad-CAM",
    grad_cam,
    defaults=dict(stage=""),  # the stage whose map is shown; '' for the last one
)
