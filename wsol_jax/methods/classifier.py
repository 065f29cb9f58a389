"""PSOL's classifier (-Sep): a network of its own, fine-tuned with cross-entropy."""

import jax
from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES
from wsol_jax.data.render import Batch
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables, unperturbed
from wsol_jax.methods.networks import apply, make_network, parameter_group, preparation, with_auxiliary


def classifier(config: ConfigDict, classes: int) -> Method:
    """Return a method that trains a network with the cross-entropy of its softmax and predicts its logits.

    Args:
        config: the keys of `classifier`.
        classes: number of classes.
    """
    network = make_network(config, classes)
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        out, batch_stats = apply(network, variables, image, key, train)
        return Outputs(out.maps, {"classes": out.head}, {}, auxiliary=out.auxiliary), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        logits = outputs.logits["classes"]
        loss = with_auxiliary(lambda logits: cross_entropy(logits, label), logits, outputs.auxiliary)
        return loss, memory, {"accuracy": accuracy(logits, label)}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(logits=outputs.logits["classes"])

    group = parameter_group(network, config.new_head, config.trainable)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
