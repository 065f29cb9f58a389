"""Slopes of logits; the gradients themselves are compared with NumPy in test_drawings.py."""

import jax.numpy as jnp
import numpy as np
import pytest
import small
import tiny

from wsol_jax.methods.stage_gradients import has_relu, of_log_probability
from wsol_jax.stages.networks import make_method


def test_a_certain_class_still_has_a_slope():
    slope = of_log_probability(jnp.array([[40.0, 0.0, 1.0]]), jnp.array([0]))[0]
    others = np.exp(np.array([-40.0, -39.0]))
    np.testing.assert_allclose(slope, [others.sum(), *-others], rtol=1e-5)


@pytest.mark.parametrize("arch", ["resnet50", "vgg16", "densenet161", "dpn68", "efficientnet_lite0", "efficientnet_b7"])
def test_networks_with_relus(arch):
    keys = tiny.config("train", method="grad_cam").unlock()
    keys.arch, keys.arch_kwargs = arch, small.NARROW.get(arch, {"widths": (4, 4, 6, 6, 8)})
    assert has_relu(make_method("train", keys, 3), small.side(arch)) == (arch != "efficientnet_b7")
