"""A localizer that segments: each cell of a frozen network's last map is object or not, learned from pseudo masks.

The box is that of the largest region. Where PSOL's box head learns a teacher's errors together with its boxes, this one
was better than its teacher on every data set that it was tried on (docs/results.md).
"""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.heads import adaptive_average_pool
from wsol_jax.data.render import Batch
from wsol_jax.methods.mask_boxes import mask_boxes
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables, unperturbed
from wsol_jax.methods.networks import apply, box_in_photo, make_frozen_network, parameter_group, preparation


def mask_localizer(config: ConfigDict) -> Method:
    """Return a method that learns the mask of a photo's object and predicts its box.

    Args:
        config: the keys of `localizer`.
    """
    network = make_frozen_network(config)
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        out, batch_stats = apply(network, variables, image, key, train)
        return Outputs(out.maps, {}, {"mask": out.head}), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        logits = outputs.maps["mask"][..., 0]
        target = adaptive_average_pool(batch.target[..., None], logits.shape[1])[..., 0]
        error = optax.sigmoid_binary_cross_entropy(logits, target).mean()
        right = ((logits > 0) == (target > 0.5)).mean()
        return error, memory, {"cells": right}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        logits = outputs.maps["mask"][..., 0]
        cut = mask_boxes(logits)
        box = box_in_photo(boxes.xyxy_to_xywh(cut.box), batch)
        return Prediction(box=box, map=jax.nn.sigmoid(logits.astype(jnp.float32)), stability=cut.stability)

    group = parameter_group(network, config.new_head, config.trainable)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
