"""Score maps of any stage of a trained classifier, drawn after training, in place of the method's own map.

BagCAM, Grad-CAM++ and LayerCAM take a forward and a backward pass; Score-CAM a forward pass for each channel.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones.network import Network
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods.class_maps import shown_class, unit_range
from wsol_jax.methods.method import Method, Prediction, Variables
from wsol_jax.methods.networks import input_size
from wsol_jax.methods.stage_gradients import Slope, has_relu, of_log_probability, of_logit, stage_gradients

DRAWINGS = {"cam": "CAM", "bagcam": "BagCAM", "grad_cam_pp": "Grad-CAM++", "layercam": "LayerCAM"}
DRAWINGS |= {"score_cam": "Score-CAM"}
"""Name of a drawing -> its title in reports; 'cam' is the method's own map."""


class Drawing(NamedTuple):
    """How the score maps of a trained network are drawn.

    Attributes:
        maps: a name in `DRAWINGS`.
        stage: whose map is drawn; '' for the last one.
        guided: BagCAM with negative gradients cut at every ReLU.
    """

    maps: str = "cam"
    stage: str = ""
    guided: bool = False


OWN_MAPS = Drawing()
"""The maps as the method gives them."""


def check_drawing(config: ConfigDict, maps: str, stage: str, guided: str) -> None:
    """Raise InputError for a drawing that does not exist, or one with a part that would have no effect.

    Args:
        config: the keys of one owner, e.g. `config.predict`.
        maps: its key for `Drawing.maps`.
        stage: its key for `Drawing.stage`.
        guided: its key for `Drawing.guided`.
    """
    checks.one_of(config, maps, DRAWINGS)
    checks.require(config, stage, config[maps] != "cam" or not config[stage], f"'' where {maps} is 'cam'")
    checks.require(config, guided, config[maps] == "bagcam" or not config[guided], f"False unless {maps} is 'bagcam'")


def drawn(method: Method, config: ConfigDict, drawing: Drawing) -> Method:
    """Return a method whose maps are drawn otherwise.

    Args:
        method: without frozen stages, through which no gradient would pass.
        config: the keys of its training.
        drawing: other than `OWN_MAPS`.

    Raises:
        InputError: the method is more than one classifier on a vector, the network has no such stage, or no ReLU where
            gradients are to be guided.
    """
    module = method.module
    if type(module) is not Network:
        raise InputError(f"maps is {drawing.maps!r}, but the maps of {config.method} are its own; expected 'cam'")
    stages = list(module.backbone.stages)
    stage = drawing.stage or stages[-1]
    if stage not in stages:
        raise InputError(f"{config.arch} has no stage {stage!r} to draw maps of; expected one of {', '.join(stages)}")
    if drawing.guided and not has_relu(method, input_size(config)):
        raise InputError(f"gradients are guided at ReLUs, of which {config.arch} has none; expected plain gradients")

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        image = method.prepare(batch.image)
        if drawing.maps == "score_cam":
            logits, heat = score_cam(method, variables, image, stage, label)
            return Prediction(logits, map=heat)
        slope, formula = FORMULAS[drawing.maps]
        at = stage_gradients(method, variables, image, stage, label, slope, drawing.guided)
        return Prediction(at.logits, map=formula(at.features, at.gradients))

    return method._replace(predict=predict)


def bagcam(features: jax.Array, gradients: jax.Array) -> jax.Array:
    """Return BagCAM (Zhu et al., ECCV 2022), as its code computes it.

    It is the sum over channels of relu(mean(G F + 1) G F), the mean over space.

    Args:
        features: F, float32 [b, h, w, d].
        gradients: G, those of the logarithm of a class's probability.

    Returns:
        float32 [b, h, w], 0 or more.
    """
    bag = gradients * features
    return jax.nn.relu((bag + 1).mean(axis=(1, 2), keepdims=True) * bag).sum(axis=-1)


def grad_cam_pp(features: jax.Array, gradients: jax.Array) -> jax.Array:
    """Return Grad-CAM++ (Chattopadhay et al., WACV 2018, equations 10 and 19).

    It is relu(sum w F) with w = sum over space of a relu(G) and a = G^2 / (2 G^2 + G^3 sum F), which is 1 / (2 + G sum
    F) wherever relu(G) is not 0. The factor exp(logit) of G is left out: it scales a whole map.

    Args:
        features: F, float32 [b, h, w, d].
        gradients: G, those of a class's logit.

    Returns:
        float32 [b, h, w], 0 or more.
    """
    below = 2 + gradients * features.sum(axis=(1, 2), keepdims=True)
    weights = (jax.nn.relu(gradients) / jnp.where(below == 0, 1, below)).sum(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * features).sum(axis=-1))


def layercam(features: jax.Array, gradients: jax.Array) -> jax.Array:
    """Return LayerCAM, relu(sum relu(G) F) (Jiang et al., TIP 2021, equations 6 and 7); see `grad_cam_pp`."""
    return jax.nn.relu((jax.nn.relu(gradients) * features).sum(axis=-1))


def score_cam(
    method: Method, variables: Variables, image: jax.Array, stage: str, label: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the logits of photos and Score-CAM of one class each (Wang et al., CVPR Workshops 2020, algorithm 1).

    It is relu(sum w F) with w the softmax over channels of the class's logit for the photo times that channel's map,
    which is enlarged and stretched to 0..1. The logit of a baseline, subtracted from all, leaves the softmax as it is.
    The channels pass one after another, so that no more than a batch of photos is in memory at a time.

    Args:
        method: a classifier.
        variables: its parameters and batch statistics.
        image: preprocessed photos [b, h, w, 3].
        stage: a stage of its backbone, with d channels.
        label: int [b], see `shown_class`.

    Returns:
        The logits [b, k], and float32 maps [b, h', w'], 0 or more.
    """
    outputs, _ = method.network(variables, image, None, None, False)
    logits, features = outputs.logits["classes"], outputs.stages[stage].astype(jnp.float32)
    chosen = shown_class(logits, label)

    def score(channel: jax.Array) -> jax.Array:
        mask = unit_range(jax.image.resize(channel, image.shape[:3], "bilinear"))
        masked = image * mask[..., None].astype(image.dtype)
        outputs, _ = method.network(variables, masked, None, None, False)
        return jnp.take_along_axis(outputs.logits["classes"], chosen[:, None], axis=-1)[:, 0]

    scores = jax.lax.map(score, jnp.moveaxis(features, -1, 0))
    weights = jax.nn.softmax(scores, axis=0).T[:, None, None]
    return logits, jax.nn.relu((weights * features).sum(axis=-1))


FORMULAS: dict[str, tuple[Slope, Callable[[jax.Array, jax.Array], jax.Array]]] = {
    "bagcam": (of_log_probability, bagcam),
    "grad_cam_pp": (of_logit, grad_cam_pp),
    "layercam": (of_logit, layercam),
}
"""Name of a drawing -> what is differentiated, and the map of features and gradients."""
