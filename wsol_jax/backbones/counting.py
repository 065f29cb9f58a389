"""The sizes of networks, from shapes alone: nothing is run, compiled or filled with numbers."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from wsol_jax.backbones.network import BACKBONES, build

MAP_SIZE = 224  # side of the photos of score maps, pixels, for every backbone (both papers' baselines)
CONV6 = 1024  # channels that wsolevaluation adds to VGG for score maps

Counts = Counter[str]
"""{'parameters': without batch statistics, 'multiply_adds': of one photo}, both exact; counters add and subtract."""


def count(network: nn.Module, size: int) -> Counts:
    """Return the counts of a network of (image, train), in evaluation, for one photo of `size` x `size` pixels."""
    return _count(network, *_shapes(network, size))


def count_psol(arch: str, classes: int = 1000) -> dict[str, Counts]:
    """Return the counts of PSOL's networks of an architecture, at its own input size: 'classifier', '-Sep', '-Joint'.

    -Sep is the classifier and the localizer. The localizer is counted as the paper does (Table 2): -Joint without the
    layer of the classes. So its auxiliary head, if it has one, has a layer of classes.

    Args:
        arch: a name in `BACKBONES`.
        classes: number of classes.
    """
    spec = BACKBONES[arch]
    network = build(arch, classes, joint=True)
    variables, image = _shapes(network, spec.size)
    joint = _count(network, variables, image)
    head, box = (_count_last(variables["params"][part]) for part in ("head", "box"))
    return {"classifier": joint - box, "-Sep": (joint - box) + (joint - head), "-Joint": joint}


def count_maps(arch: str, classes: int = 1000) -> dict[int, Counts]:
    """Return the counts of the classifiers for score maps of 14x14 and 28x28 cells, by their stride, 16 and 8.

    Args:
        arch: a name in `BACKBONES`.
        classes: number of classes.

    Returns:
        {stride: counts}; {} where other layers than the last one follow the mean of the last map.
    """
    published, *finer = BACKBONES[arch].strides
    conv6 = {"conv6": CONV6} if hasattr(build(arch, classes, stride=published).backbone, "conv6") else {}
    networks = {stride: build(arch, classes, stride=stride, **conv6) for stride in finer}
    return {stride: count(network, MAP_SIZE) for stride, network in networks.items() if not network.neck.layers}


def multiply_adds(program: Jaxpr) -> int:
    """Return the multiply-adds of all convolutions and matrix products of a program.

    Where a computation has several forms (`lax.platform_dependent`), the last one counts, which belongs to no platform:
    on CPU a depthwise convolution is neither a convolution nor a product. The body of a loop counts once.
    """
    total = 0
    for equation in program.eqns:
        if equation.primitive.name == "conv_general_dilated":
            total += _of_convolution(equation)
        elif equation.primitive.name == "dot_general":
            total += _of_product(equation)
        else:
            inner = [multiply_adds(inside) for inside in _programs(equation.params)]
            total += inner[-1] if equation.primitive.name == "cond" else sum(inner)
    return total


def _of_convolution(equation: JaxprEqn) -> int:
    """Multiply-adds: every number of the output is a sum over the kernel without its output channels."""
    kernel, outputs = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
    channels = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(outputs) * math.prod(kernel) // channels


def _of_product(equation: JaxprEqn) -> int:
    """Multiply-adds: every number of the output is a sum over the contracted axes."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, outputs = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return math.prod(outputs) * math.prod(left[axis] for axis in contracted)


def _programs(params: Mapping[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr | Jaxpr):
                yield item.jaxpr if isinstance(item, ClosedJaxpr) else item


def _shapes(network: nn.Module, size: int) -> tuple[dict[str, Any], jax.ShapeDtypeStruct]:
    """The shapes of the network's variables and of a photo."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    collections = ("params", "batch_stats")
    return jax.eval_shape(
        lambda image: network.init(jax.random.key(0), image, train=False, mutable=collections), image
    ), image


def _count(network: nn.Module, variables: dict[str, Any], image: jax.ShapeDtypeStruct) -> Counts:
    program = jax.make_jaxpr(lambda variables, image: network.apply(variables, image, train=False))(variables, image)
    return Counts(parameters=_elements(variables["params"]), multiply_adds=multiply_adds(program.jaxpr))


def _count_last(layers: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]) -> Counts:
    """The counts of linear layers that take one vector per photo each."""
    kernels = [layer["kernel"] for layer in layers.values()]
    return Counts(parameters=_elements(layers), multiply_adds=_elements(kernels))


def _elements(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
