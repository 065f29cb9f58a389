"""CAM: the last map, weighted as a class weighs it, shows where the class is (Zhou et al., CVPR 2016)."""

from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.network import Network
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.class_maps import class_maps, map_prediction
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method, Outputs, unperturbed
from wsol_jax.methods.networks import apply, check_pooling, make_network, parameter_group, preparation


def cam(config: ConfigDict, classes: int) -> Method:
    """A network of which the mean of the last map goes straight to a linear layer; its map is that layer at every cell.

    Args:
        config: the keys of `train` in configs/base.py.
        classes: how many there are.
    """
    return of_network(make_network(config, classes), config)


def of_network(network: Network, config: ConfigDict) -> Method:
    """CAM of a network that may do more than CAM's in training, as ADL's.

    Raises:
        InputError: it does not classify the mean of its last map.
    """
    check_pooling(network, config)
    prepare = preparation(BACKBONES[config.arch], config.dtype)
    last = list(network.backbone.stages)[-1]

    def forward(variables, image, label, key, train):
        out, batch_stats = apply(network, variables, image, key, train)
        maps = class_maps(out.maps[last], variables["params"]["head"])
        return Outputs(out.maps, {"classes": out.head}, {"classes": maps}), batch_stats

    def objective(outputs, label, batch, memory, key, progress):
        logits = outputs.logits["classes"]
        return cross_entropy(logits, label), memory, {"accuracy": accuracy(logits, label)}

    def predict(variables, batch, label=None):
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return map_prediction(outputs, label)

    group = parameter_group(network, True, config.trainable, config.new_from)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)


CAM = Entry("CAM", cam)
