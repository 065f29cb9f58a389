"""PSOL's classifier (-Sep): a network fine-tuned with cross-entropy, on its own."""

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES, build
from wsol_jax.methods.method import Method, Outputs, Prediction, unperturbed
from wsol_jax.methods.networks import apply, parameter_group, preparation


def classifier(config: ConfigDict, classes: int) -> Method:
    """A network with a softmax over `classes`.

    Args:
        config: the keys of `classifier` in configs/base.py.
        classes: how many there are.
    """
    network = build(config.arch, classes, config.dtype, config.freeze, **config.arch_kwargs)
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(variables, image, label, key, train):
        (stages, logits), batch_stats = apply(network, variables, image, key, train)
        return Outputs(stages, {"classes": logits}, {}), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        logits = outputs.logits["classes"]
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
        return loss, memory, {"accuracy": (logits.argmax(-1) == label).astype(jnp.float32).mean()}

    def predict(variables, batch, label=None):
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(logits=outputs.logits["classes"])

    group = parameter_group(network, config.new_head)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
