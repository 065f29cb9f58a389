"""PSOL's localizer (-Sep): one class-agnostic box for each photo, learned from pseudo boxes."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.heads import Box
from wsol_jax.data.render import Batch
from wsol_jax.losses.box import BOX_LOSSES
from wsol_jax.methods.mask_localizer import mask_localizer
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables, unperturbed
from wsol_jax.methods.networks import (
    apply,
    box_in_photo,
    make_frozen_network,
    make_network,
    parameter_group,
    preparation,
    with_auxiliary,
)

HEADS = ("pooled", "spatial", "mask")
FROZEN = ("spatial", "mask")
"""The heads that are trained on features of a frozen network, see `on_features`."""


def localizer(config: ConfigDict) -> Method:
    """Return a method that regresses left, top, width and height of the pseudo box with a box head.

    The head is PSOL's on pooled features, in place of the network's last layer, or on the flattened map, which keeps
    the place of every cell; see `SpatialNeck`. With the head 'mask' it segments instead, see `mask_localizer`.

    Args:
        config: the keys of `localizer`.
    """
    if config.head == "mask":
        return mask_localizer(config)
    network = make_network(config, "box") if config.head == "pooled" else make_frozen_network(config)
    prepare, loss = preparation(BACKBONES[config.arch], config.dtype), BOX_LOSSES[config.loss]

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        out, batch_stats = apply(network, variables, image, key, train)
        return Outputs(out.maps, {}, {}, out.head, out.auxiliary), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        target = boxes.xyxy_to_xywh(batch.target)
        error = with_auxiliary(lambda box: loss(box, target), outputs.box, outputs.auxiliary)
        overlap = boxes.iou(boxes.xywh_to_xyxy(outputs.box), batch.target).mean()
        return config.box_weight * error, memory, {"iou": overlap}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(box=box_in_photo(outputs.box, batch))

    group = parameter_group(network, config.new_head, config.trainable)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)


def on_features(method: Method) -> Method:
    """Return a localizer that trains on features of photos: the `image` of a batch is the last map, computed before.

    Its parameters are those of the whole network, and no gradient reaches the backbone.

    Args:
        method: a method of `localizer`.
    """
    network = method.module

    def forward(
        variables: Variables, features: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        params, rngs = variables["params"], {"dropout": key} if train else {}
        x = network.neck.apply({"params": params.get("neck", {})}, features, train, rngs=rngs)
        head = network.head.apply({"params": params["head"]}, x)
        is_box = isinstance(network.head, Box)
        outputs = Outputs({}, {}, {}, head) if is_box else Outputs({}, {}, {"mask": head})
        return outputs, variables["batch_stats"]

    return method._replace(prepare=lambda features: features.astype(jnp.float32), network=forward)


def features_of(method: Method, variables: Variables, image: jax.Array) -> jax.Array:
    """Return the last map of photos, [b, h', w', d], which `on_features` expects.

    Args:
        method: a method of `localizer`.
        variables: its parameters and batch statistics.
        image: uint8 [b, h, w, 3].
    """
    backbone = {name: values["backbone"] for name, values in variables.items() if "backbone" in values}
    maps = method.module.backbone.apply(backbone, method.prepare(image), False)
    return maps[list(method.module.backbone.stages)[-1]]
