"""CAM: the last map, weighted by the classifier's weights of a class (Zhou et al., CVPR 2016)."""

import jax
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.network import Network
from wsol_jax.data.render import Batch
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.class_maps import class_maps, map_prediction
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables, unperturbed
from wsol_jax.methods.networks import apply, check_pooling, make_network, parameter_group, preparation


def cam(config: ConfigDict, classes: int) -> Method:
    """Return a classifier of the mean of the last map, whose score maps are its linear layer applied to every cell.

    Args:
        config: the keys of `train`.
        classes: number of classes.

    Raises:
        InputError: the network has other layers between its last map and its classifier.
    """
    return of_network(make_network(config, classes), config)


def of_network(network: Network, config: ConfigDict) -> Method:
    """Return CAM of a given network, which may have layers for training alone, as ADL's.

    With `cam.positive` the weights of the classes are in the optimiser's group 'positive': a class is learned by what
    it has and not by what the others have, so that its map covers more of the object (Bae et al., ECCV 2020, clamp
    negative weights after training).

    Args:
        network: the network.
        config: the keys of `train`.

    Raises:
        InputError: the network has other layers between its last map and its classifier.
    """
    check_pooling(network, config)
    prepare = preparation(BACKBONES[config.arch], config.dtype)
    last = list(network.backbone.stages)[-1]

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        out, batch_stats = apply(network, variables, image, key, train)
        maps = class_maps(out.maps[last], variables["params"]["head"])
        return Outputs(out.maps, {"classes": out.head}, {"classes": maps}), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        logits = outputs.logits["classes"]
        return cross_entropy(logits, label), memory, {"accuracy": accuracy(logits, label)}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return map_prediction(outputs, label)

    of_path = parameter_group(network, True, config.trainable, config.new_from)
    has_positive = "cam" in config and config.cam.positive  # runs of older versions have no such key

    def group(path: tuple[str, ...]) -> str:
        is_positive = has_positive and path[0] == "head" and path[-1] == "kernel"
        return "positive" if is_positive else of_path(path)

    return Method(network, prepare, unperturbed, forward, objective, (), predict, group, has_positive)


CAM = Entry(
    "CAM",
    cam,
    defaults=dict(
        positive=False,  # the weights of the classes stay at 0 or above; also of HaS, ADL and CutMix
    ),
    check_keys=lambda keys: checks.require(keys, "positive", keys.positive in (False, True), "False or True"),
)
