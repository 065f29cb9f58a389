"""The networks of methods: built from a configuration, run, and their parameters sorted into optimiser groups."""

from collections.abc import Callable
from functools import partial
from itertools import dropwhile, takewhile
from typing import Any

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones.heads import Box, Classifier, GlobalPool
from wsol_jax.backbones.layers import frozen_stages, preprocess
from wsol_jax.backbones.mask_neck import MaskNeck
from wsol_jax.backbones.network import BACKBONES, Architecture, Network, build, trunk
from wsol_jax.backbones.spatial_head import SpatialNeck
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods.method import BatchStats, Group, Variables

AUXILIARY_WEIGHT = 0.3  # of the loss of the auxiliary head
SPATIAL_HIDDEN = 256  # width of the first layer of the box head on a flattened map


class MapNetwork(nn.Module):
    """A backbone and a head on the maps of its stages, which may use the labels too; see `Network`.

    Attributes:
        backbone: photos -> maps of its stages.
        head: (maps, labels or None) -> the outputs that its method needs.
    """

    backbone: nn.Module
    head: nn.Module

    def __call__(
        self, image: jax.Array, train: bool, label: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], Any]:
        """Return the map of every stage and the outputs of the head for preprocessed photos, float [b, h, w, 3]."""
        maps = self.backbone(image, train)
        return maps, self.head(maps, label)


def make_network(config: ConfigDict, head: str | int, joint: bool = False, **changes: Any) -> Network:
    """Return the network of a configuration.

    Args:
        config: the keys of a training, see `stages.training`.
        head: 'box', or the number of classes.
        joint: whether there is a box branch in addition to the head.
        **changes: further arguments of the backbone, see `build`.

    Raises:
        InputError: there is no such architecture, argument or stage.
    """
    return build(config.arch, head, config.dtype, _freeze(config), joint, **backbone_arguments(config), **changes)


def backbone_arguments(config: ConfigDict) -> dict[str, Any]:
    """Return the arguments of the backbone of a configuration, `arch_kwargs`.

    Raises:
        InputError: one is an argument of the whole network, which has a key of its own, or its name is no text.
    """
    own = ("arch", "head", "dtype", "freeze", "joint", "pointwise", "hook", "parent", "name")
    for name in config.arch_kwargs:
        if name in own or type(name) is not str:
            raise InputError(f"arch_kwargs has {name!r}; expected arguments of the backbone alone, such as stride")
    return dict(config.arch_kwargs)


def make_frozen_network(config: ConfigDict) -> Network:
    """Return the network of a localizer on a frozen backbone's map: a box head on all cells, or a logit of each.

    Args:
        config: the keys of `localizer`, with the head 'spatial' or 'mask'.

    Raises:
        InputError: a stage of the backbone would be trained.
    """
    backbone, classifier = make_trunk(config), BACKBONES[config.arch].classifier
    if config.freeze != list(backbone.stages)[-1]:
        raise InputError(
            f"head is {config.head!r} and freeze {config.freeze!r}; expected {list(backbone.stages)[-1]!r}, the last "
            "stage: its features are computed once"
        )
    if config.head == "mask":
        return Network(backbone, MaskNeck(dtype=config.dtype), Classifier(1, classifier))
    return Network(backbone, SpatialNeck(dtype=config.dtype), Box(classifier, hidden=SPATIAL_HIDDEN))


def check_pooling(network: Network, config: ConfigDict) -> None:
    """Raise unless a network classifies the mean of its last map, so that its classifier applies to each cell as well.

    Args:
        network: the network.
        config: the keys of its training.

    Raises:
        InputError: there are other layers between the last map and the classifier.
    """
    if not isinstance(network.neck, GlobalPool):
        raise InputError(
            f"method {config.method}: {config.arch} has layers between its last map and its classes; "
            "expected a network that classifies the map's mean, as vgg_gap"
        )


def make_trunk(config: ConfigDict, **changes: Any) -> nn.Module:
    """Return the backbone of a configuration alone; see `make_network`."""
    return trunk(config.arch, config.dtype, freeze=_freeze(config), **backbone_arguments(config), **changes)


def unfrozen(config: ConfigDict) -> ConfigDict:
    """Return the keys of a training without frozen stages, which changes no prediction and lets gradients pass.

    Args:
        config: the keys of a training.
    """
    keys = ConfigDict(config.to_dict())
    keys.update(freeze="", trainable="all")
    return keys


def _freeze(config: ConfigDict) -> str:
    return config.freeze if config.trainable == "all" else _last_published_stage(config)


def _last_published_stage(config: ConfigDict) -> str:
    """The last stage up to which a variant of a backbone adds no layer to the published ones."""
    backbone = trunk(config.arch, config.dtype, **backbone_arguments(config))
    published = takewhile(lambda stage: not set(stage[1]) & set(backbone.added), backbone.stages.items())
    return list(published)[-1][0]


def input_size(config: ConfigDict) -> int:
    """Return the side of a network's square input, pixels: `size`, or the size that its weights were trained with."""
    return config.size or BACKBONES[config.arch].size


def resize_size(config: ConfigDict) -> int:
    """Return the side to which a whole photo is resized before `input_size` is cut from it, pixels.

    The two are in the ratio that the architecture's weights were trained with; in wsolevaluation it is 256 to 224.

    Args:
        config: the keys of a training.
    """
    if config.augment == "wsol":
        return round(input_size(config) * 256 / 224)
    architecture = BACKBONES[config.arch]
    return round(input_size(config) * architecture.resize / architecture.size)


def preparation(architecture: Architecture, dtype: str) -> Callable[[jax.Array], jax.Array]:
    """Return the function from uint8 images to the input that an architecture's weights were trained with.

    Args:
        architecture: the architecture.
        dtype: of the result, 'float32' or 'bfloat16'.
    """
    return partial(preprocess, preprocessing=architecture.preprocessing, dtype=dtype)


def apply(
    network: nn.Module, variables: Variables, image: jax.Array, key: jax.Array | None, train: bool, *more: Any
) -> tuple[Any, BatchStats]:
    """Return the outputs of a module, and its batch statistics, which only training changes.

    Args:
        network: the module.
        variables: its parameters and batch statistics.
        image: preprocessed photos [b, h, w, 3].
        key: of the dropout; None outside of training.
        train: whether it is trained.
        *more: further arguments of the module.
    """
    if not train:
        return network.apply(variables, image, False, *more), variables["batch_stats"]
    returned, changed = network.apply(variables, image, True, *more, rngs={"dropout": key}, mutable=["batch_stats"])
    return returned, changed.get("batch_stats", {})


def parameter_group(network: Network | MapNetwork, new_head: bool, trainable: str = "all", new_from: str = "") -> Group:
    """Return the function from the path of a parameter to its optimiser group.

    The groups are 'frozen' up to the stage `freeze`, 'new' for layers without pretrained weights, 'base' for the rest.

    Args:
        network: that has the parameters.
        new_head: whether the last layers have no pretrained weights.
        trainable: 'all', or 'head': the neck is frozen too.
        new_from: a stage from which on the layers count as new too; '' for none.

    Raises:
        InputError: no stage is called `new_from`.

    Example:
        >>> group = parameter_group(build("resnet50", 200, freeze="layer2"), new_head=True)
        >>> [group(("backbone", layer, "kernel")) for layer in ("conv1", "layer4.0")], group(("head", "fc", "kernel"))
        (['frozen', 'base'], 'new')
    """
    stages = network.backbone.stages
    frozen = {layer for stage in frozen_stages(network.backbone) for layer in stages[stage]}
    if new_from and new_from not in stages:
        raise InputError(f"new_from is {new_from!r}; expected one of {', '.join(stages)}")
    late = dropwhile(lambda stage: stage != new_from, stages) if new_from else ()
    new = {layer for stage in late for layer in stages[stage]} | set(network.backbone.added)

    def group(path: tuple[str, ...]) -> str:
        if (path[0] == "backbone" and path[1] in frozen) or (path[0] == "neck" and trainable == "head"):
            return "frozen"
        is_new = path[0] == "box" or path[1] in new or (new_head and "head" in path[:2])
        return "new" if is_new else "base"

    return group


def with_auxiliary(loss: Callable[[jax.Array], jax.Array], main: jax.Array, auxiliary: jax.Array | None) -> jax.Array:
    """Return loss(main) + 0.3 loss(auxiliary), as InceptionV3 is trained (PSOL's code for its localizer too).

    Args:
        loss: of the output of a head.
        main: the output of the head.
        auxiliary: that of the auxiliary head; None for a network without one, whose loss is loss(main).
    """
    return loss(main) if auxiliary is None else loss(main) + AUXILIARY_WEIGHT * loss(auxiliary)


def box_in_photo(box: jax.Array, batch: Batch) -> jax.Array:
    """Return boxes [b, 4], normalised xyxy in the frame of the original image, cut off at its edges.

    Args:
        box: [b, 4], left, top, width, height in the frame of the network's input.
        batch: the photos, with their windows and mirrorings.
    """
    in_window = boxes.mirror(boxes.xywh_to_xyxy(box), batch.flip)
    return boxes.clip(boxes.out_of_window(in_window, batch.window))
