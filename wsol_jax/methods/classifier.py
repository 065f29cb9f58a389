"""PSOL's classifier (-Sep): a network fine-tuned with cross-entropy, on its own."""

from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.method import Method, Outputs, Prediction, unperturbed
from wsol_jax.methods.networks import apply, make_network, parameter_group, preparation, with_auxiliary


def classifier(config: ConfigDict, classes: int) -> Method:
    """A network with a softmax over `classes`.

    Args:
        config: the keys of `classifier` in configs/base.py.
        classes: how many there are.
    """
    network = make_network(config, classes)
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(variables, image, label, key, train):
        out, batch_stats = apply(network, variables, image, key, train)
        return Outputs(out.maps, {"classes": out.head}, {}, auxiliary=out.auxiliary), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        logits = outputs.logits["classes"]
        loss = with_auxiliary(lambda logits: cross_entropy(logits, label), logits, outputs.auxiliary)
        return loss, memory, {"accuracy": accuracy(logits, label)}

    def predict(variables, batch, label=None):
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(logits=outputs.logits["classes"])

    group = parameter_group(network, config.new_head, config.trainable)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)
