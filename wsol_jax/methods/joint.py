"""PSOL-Joint: one network with a classifier and a box branch, trained together (PSOL, section 3.2.2)."""

import jax
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones import BACKBONES
from wsol_jax.data.render import Batch
from wsol_jax.losses.box import squared_error
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables, unperturbed
from wsol_jax.methods.networks import apply, box_in_photo, make_network, parameter_group, preparation, with_auxiliary


def joint(config: ConfigDict, classes: int) -> Method:
    """Return a method with the cross-entropy of the classes and the squared error of the box, on the same features.

    The paper gives no weights of the two, and its code has no -Joint network.

    Args:
        config: the keys of `joint`.
        classes: number of classes.
    """
    network = make_network(config, classes, joint=True)
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        out, batch_stats = apply(network, variables, image, key, train)
        return Outputs(out.maps, {"classes": out.head}, {}, out.box, out.auxiliary), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        logits = outputs.logits["classes"]
        class_loss = with_auxiliary(lambda logits: cross_entropy(logits, label), logits, outputs.auxiliary)
        error = squared_error(outputs.box, boxes.xyxy_to_xywh(batch.target))
        overlap = boxes.iou(boxes.xywh_to_xyxy(outputs.box), batch.target).mean()
        logs = {"accuracy": accuracy(logits, label), "iou": overlap, "class_loss": class_loss, "box_error": error}
        return config.class_weight * class_loss + config.box_weight * error, memory, logs

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(logits=outputs.logits["classes"], box=box_in_photo(outputs.box, batch))

    group = parameter_group(network, config.new_head, config.trainable)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
