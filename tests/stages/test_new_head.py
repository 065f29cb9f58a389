"""A localizer starts from one's own, head and all."""

import numpy as np
import pytest
import tiny

from wsol_jax.stages.networks import make_method
from wsol_jax.stages.training import initial_variables
from wsol_jax.weights.pretrained import save_weights

HEADS = {
    "pooled": {},
    "spatial": {"head": "spatial", "freeze": "conv_head"},
    "mask": {"head": "mask", "freeze": "conv_head"},
}


@pytest.mark.parametrize("head", HEADS)
def test_a_localizer_starts_from_the_head_of_its_weights(head, tmp_path):
    keys = tiny.config(arch="efficientnet_lite0", **HEADS[head])
    method = make_method("localizer", keys, 3)
    before, _ = initial_variables(method, keys, seed=0)
    save_weights(before, tmp_path / "localizer.safetensors")
    own = keys.copy_and_resolve_references()
    own.update(weights=str(tmp_path / "localizer.safetensors"), new_head=False)
    after, message = initial_variables(make_method("localizer", own, 3), own, seed=1)
    tiny.assert_trees_equal(after["params"], before["params"])
    assert "new" not in message
    assert make_method("localizer", own, 3).group(("head", "classifier", "kernel")) == "base"
    own.new_head = True
    fresh, _ = initial_variables(make_method("localizer", own, 3), own, seed=1)
    kernels = [value for value in tiny.jax.tree.leaves(fresh["params"]["head"]) if np.any(value)]
    assert kernels and make_method("localizer", own, 3).group(("head", "classifier", "kernel")) == "new"
