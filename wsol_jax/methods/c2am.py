"""C2AM: a map of the foreground, learned without labels by contrast with the background (Xie et al., CVPR 2022)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax.backbones import BACKBONES
from wsol_jax.backbones.layers import frozen_stages
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.losses.contrast import contrast
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Outputs, Prediction, Variables, unperturbed
from wsol_jax.methods.networks import apply, make_trunk, parameter_group, preparation

TAPS = 3  # side of the kernel of the head


def c2am(config: ConfigDict) -> Method:
    """Return a method that learns the probability P of each cell to be foreground, or to be background.

    Which of the two P is cannot be known from the loss, which is the same for P and 1 - P.

    Args:
        config: the keys of `pseudo.c2am`.

    Raises:
        InputError: there is no such architecture or stage, or the stages' maps differ in size.
    """
    network = ForegroundNetwork(make_trunk(config), stage_names(config), ForegroundHead())
    prepare = preparation(BACKBONES[config.arch], config.dtype)

    def forward(
        variables: Variables, image: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        (features, foreground), batch_stats = apply(network, variables, image, key, train)
        return _outputs(features, foreground), batch_stats

    def objective(
        outputs: Outputs, label: jax.Array, batch: Batch, memory: Memory, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, Memory, Logs]:
        features, foreground = outputs.stages["joined"].astype(jnp.float32), outputs.maps["foreground"]
        means = ((share * features).mean(axis=(1, 2)) for share in (1 - foreground, foreground))
        return contrast(*means, config.alpha), memory, {"foreground": foreground.mean()}

    def predict(variables: Variables, batch: Batch, label: jax.Array | None = None) -> Prediction:
        outputs, _ = forward(variables, prepare(batch.image), None, None, False)
        return Prediction(map=outputs.maps["foreground"][..., 0])

    group = parameter_group(network, config.new_head, config.trainable, config.new_from)
    return Method(network, prepare, unperturbed, forward, objective, (), predict, group)


def stage_names(config: ConfigDict) -> tuple[str, ...]:
    """Return the stages whose maps are joined, `layers`; the last one where it is ''.

    Raises:
        InputError: the architecture has no such stage.
    """
    stages = list(make_trunk(config).stages)
    names = tuple(name.strip() for name in config.layers.split(",")) if config.layers else (stages[-1],)
    for name in names:
        if name not in stages:
            raise InputError(f"pseudo.c2am.layers has {name!r}; {config.arch} has {', '.join(stages)}")
    return names


def is_frozen(method: Method) -> bool:
    """Return whether no stage of the backbone is trained, so that `on_features` trains the same head.

    Args:
        method: a method of `c2am`.
    """
    backbone = method.module.backbone
    return len(frozen_stages(backbone)) == len(backbone.stages)


def features_of(method: Method, variables: Variables, image: jax.Array) -> jax.Array:
    """Return the joined maps of photos, [b, h', w', d], which `on_features` expects.

    Args:
        method: a method of `c2am`.
        variables: its parameters and batch statistics.
        image: uint8 [b, h, w, 3].
    """
    return method.module.apply(variables, method.prepare(image), False)[0]


def on_features(method: Method) -> Method:
    """Return a method that trains on features of photos: the `image` of a batch is the joined maps, computed before.

    Its parameters are those of the whole network, and no gradient reaches the backbone.

    Args:
        method: a method of `c2am`.
    """
    head = method.module.head

    def forward(
        variables: Variables, features: jax.Array, label: jax.Array | None, key: jax.Array | None, train: bool
    ) -> tuple[Outputs, BatchStats]:
        of_head = {name: values["head"] for name, values in variables.items()}
        foreground, changed = head.apply(of_head, features, train, mutable=["batch_stats"])
        batch_stats = variables["batch_stats"] | {"head": changed["batch_stats"]}
        return _outputs(features, foreground), batch_stats

    return method._replace(prepare=lambda features: features.astype(jnp.float32), network=forward)


def _outputs(features: jax.Array, foreground: jax.Array) -> Outputs:
    return Outputs({"joined": features}, {}, {"foreground": foreground})


class ForegroundHead(nn.Module):
    """A 3x3 convolution to one channel without bias, batch norm without scale and shift, a sigmoid.

    The published optimiser never steps scale and shift. The layers have the published names.
    """

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Return P, float32 [b, h, w, 1] in (0, 1), of joined maps [b, h, w, d]."""
        _, h, w, d = features.shape
        kernel = Kernel(name="ac_head.activation_head")(TAPS * TAPS * d).reshape(TAPS * TAPS, d)
        taps = features.astype(jnp.float32) @ kernel.T  # a map for each tap: on CPU quicker than a convolution to one
        taps = jnp.pad(taps, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifts = ((i, j) for i in range(TAPS) for j in range(TAPS))
        score = sum(taps[:, i : i + h, j : j + w, TAPS * i + j] for i, j in shifts)[..., None]
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            use_scale=False,
            use_bias=False,
            epsilon=1e-5,
            use_fast_variance=False,
            name="ac_head.bn_head",
        )
        return nn.sigmoid(norm(score))


class Kernel(nn.Module):
    """The weights of a convolution to one channel, flat: they start uniform in +-1 / sqrt(size), as torch's do."""

    @nn.compact
    def __call__(self, size: int) -> jax.Array:
        """Return them, float32 [size, 1]."""
        return self.param("kernel", nn.initializers.zeros_init(), (size, 1))  # `initialise` fills it


class ForegroundNetwork(nn.Module):
    """A backbone and the head on the joined maps of some of its stages.

    Attributes:
        backbone: photos -> maps of its stages.
        layers: the stages, whose maps have one size.
        head: see `ForegroundHead`.
    """

    backbone: nn.Module
    layers: tuple[str, ...]
    head: nn.Module

    def __call__(self, image: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Return the joined maps [b, h, w, d] and P [b, h, w, 1] of preprocessed photos, float [b, h, w, 3]."""
        maps = self.backbone(image, train)
        sizes = {name: maps[name].shape[1:3] for name in self.layers}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {h} x {w}" for name, (h, w) in sizes.items())
            raise InputError(f"pseudo.c2am.layers: the maps differ in size ({listed}); expected stages of one size")
        features = jnp.concatenate([maps[name] for name in self.layers], axis=-1)
        return features, self.head(features, train)
