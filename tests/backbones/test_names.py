import jax
import numpy as np
import pytest
import small

from wsol_jax.backbones import names


@pytest.mark.parametrize("arch", small.NARROW)
@pytest.mark.parametrize("make", [small.network, small.backbone])
def test_state_dict_and_back_is_bit_for_bit(arch, make):
    variables = small.variables(make(arch))
    state = names.to_state_dict(variables)
    back = names.from_state_dict(state, jax.tree.map(np.zeros_like, variables))
    assert len(state) == len(jax.tree.leaves(variables))
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, back))


def test_a_network_and_its_trunk_have_the_same_names():
    whole = names.to_state_dict(small.variables(small.network("efficientnet_lite0")))
    trunk = names.to_state_dict(small.variables(small.backbone("efficientnet_lite0")))
    assert set(whole) - set(trunk) == {"classifier.weight", "classifier.bias"}
    assert whole["blocks.1.0.conv_dw.weight"].shape == (24, 1, 3, 3)


def test_layouts_are_those_of_torch():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    state = names.to_state_dict({"params": {"conv": {"kernel": kernel}, "fc": {"kernel": kernel[0, 0]}}})
    assert state["conv.weight"][4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert state["fc.weight"][4, 3] == kernel[0, 0, 3, 4]
