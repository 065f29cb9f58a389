"""Grad-CAM: any layer of any classifier, weighted by the gradient of a class (Selvaraju et al., ICCV 2017)."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.methods.class_maps import shown_class
from wsol_jax.methods.classifier import classifier
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method, Prediction


def grad_cam(config: ConfigDict, classes: int) -> Method:
    """A classifier that shows which cells of a stage speak for a class, without any change to it.

    Args:
        config: the keys of `train` in configs/base.py, among them `grad_cam`.
        classes: how many there are.

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
        raise InputError(f"grad_cam.stage is {stage!r}; {config.arch} has {', '.join(stages)}")

    def predict(variables, batch, label=None):
        image = whole.prepare(batch.image)
        logits, heat = heat_maps(whole, variables, image, stage, label)
        return Prediction(logits, map=heat)

    return method._replace(predict=predict)


def heat_maps(
    method: Method, variables: dict, image: jax.Array, stage: str, label: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The positive part of a stage's map, each channel times the mean of a class score's gradient (their equation 2).

    Args:
        method: a classifier that no stage of is frozen.
        variables: its parameters and batch statistics.
        image: preprocessed photos [b, h, w, 3].
        stage: whose map.
        label: int [b]; None for the class each photo is taken for.

    Returns:
        The logits [b, k], and float32 maps [b, h', w'], not negative.
    """

    def run(added):
        state = variables | {"perturbations": {"backbone": added}}
        outputs, _ = method.network(state, image, None, None, False)
        logits = outputs.logits["classes"]
        chosen = shown_class(logits, label)
        return jnp.take_along_axis(logits, chosen[:, None], axis=-1).sum(), (logits, outputs.stages[stage])

    maps = jax.eval_shape(lambda: method.network(variables, image, None, None, False)[0].stages)
    nothing = {name: jnp.zeros(maps[name].shape, maps[name].dtype) for name in method.module.backbone.stages}
    gradients, (logits, features) = jax.grad(run, has_aux=True)(nothing)
    weights = gradients[stage].astype(jnp.float32).mean(axis=(1, 2), keepdims=True)
    return logits, jnp.maximum((weights * features).sum(axis=-1), 0)


GRAD_CAM = Entry(
    "Grad-CAM",
    grad_cam,
    defaults=dict(stage=""),  # whose map; '' is the last one
)
