"""ACoL: a second classifier learns from the cells that the first one does not use (Zhang et al., CVPR 2018)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.convolutions import convolution, max_pool
from wsol_jax.data.render import Batch
from wsol_jax.losses.classes import accuracy, cross_entropy
from wsol_jax.methods.class_maps import CellClassifier, mean_of_maps, of_class, shown_class, unit_range
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import (
    BatchStats,
    ClassMaps,
    Logs,
    Memory,
    Method,
    Outputs,
    Prediction,
    Variables,
    unperturbed,
)
from wsol_jax.methods.networks import MapNetwork, apply, make_trunk, parameter_group, preparation

WIDTH = 1024
BEFORE = {"inception_v3": "Mixed_6e"}  # the stage whose map both classifiers take, where it is not the last


def acol(config: ConfigDict, classes: int) -> Method:
    """Return a method with two classifiers on one map; a photo's score map is the larger of theirs, each in 0..1.

    VGG pools differently for it, as in wsolevaluation: 3x3 windows, and a 3x3 maximum and mean at the end.

    Args:
        config: the keys of `train`, among them `acol`.
        classes: number of classes.
    """
    is_vgg, stage = config.arch.startswith("vgg"), BEFORE.get(config.arch, "")
    backbone = make_trunk(config, **(dict(pool=3) if is_vgg else {}))
    network = MapNetwork(backbone, TwoClassifiers(classes, config.acol.threshold, stage, is_vgg, config.dtype))
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        (stages, maps), batch_stats = apply(network, variables, image, key, train, label)
        logits = {name: mean_of_maps(value) for name, value in maps.items()}
        return Outputs(stages, logits, maps), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        logits = outputs.logits["classes"]
        loss = cross_entropy(logits, label) + cross_entropy(outputs.logits["erased"], label)
        return loss, memory, {"accuracy": accuracy(logits, label)}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), label, None, False)
        logits = outputs.logits["classes"]
        label = shown_class(logits, label)
        first, second = (unit_range(of_class(outputs.maps[name], label)) for name in ("classes", "erased"))
        return Prediction(logits, map=jnp.maximum(first, second))

    group = parameter_group(network, True, config.trainable, config.new_from)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)


class TwoClassifiers(nn.Module):
    """Three convolutions on a map, and three more on the same map without the cells that the first ones respond to.

    Attributes:
        classes: number of classes.
        threshold: cells where the first classifier's map of a photo's class, in 0..1, reaches it are zeros for the
            second.
        stage: the stage whose map they take; '' for the last.
        smooth: whether a 3x3 maximum and a 3x3 mean come first.
        dtype: of the computation except the classes' layers; parameters are float32.
    """

    classes: int
    threshold: float
    stage: str
    smooth: bool
    dtype: str

    @nn.compact
    def __call__(self, stages: dict[str, jax.Array], label: jax.Array | None) -> dict[str, ClassMaps]:
        """Return the maps of both classifiers, 'classes' and 'erased'.

        Args:
            stages: the maps of the backbone.
            label: int [b], see `shown_class`.
        """
        features = stages[self.stage] if self.stage else list(stages.values())[-1]
        if self.smooth:
            features = max_pool(features, (3, 3), padding="SAME")
            features = nn.avg_pool(features, (3, 3), padding="SAME")
        first = self._classify("classifier_A", features)
        label = shown_class(mean_of_maps(first), label)
        attention = unit_range(of_class(jax.lax.stop_gradient(first), label))
        kept = (attention < self.threshold)[..., None].astype(features.dtype)
        return {"classes": first, "erased": self._classify("classifier_B", features * kept)}

    def _classify(self, name: str, x: jax.Array) -> ClassMaps:
        conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolution)
        for i in (0, 2):
            x = nn.relu(conv(WIDTH, (3, 3), padding=1, name=f"{name}.{i}")(x))
        return CellClassifier(self.classes, name=f"{name}.4")(x)


ACOL = Entry(
    "ACoL",
    acol,
    defaults=dict(threshold=0.7),  # of the first classifier's map, where features are erased (original: 0.6)
    check_keys=lambda keys: checks.fraction(keys, "threshold"),
)
