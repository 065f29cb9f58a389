"""Every network names its smallest photos before anything starts, for all of its heads."""

import jax
import pytest
import small
from ml_collections import ConfigDict

from configs.base import get_config
from wsol_jax.backbones import initialise
from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.stages.networks import make_method
from wsol_jax.stages.training import check_size


def is_large_enough(stage: str, arch: str, size: int, **changes: object) -> bool:
    """Whether a narrow network can be initialised and trained; anything but an InputError fails the test."""
    keys = get_config()[stage].unlock()
    keys.update(arch=arch, **changes)
    keys.arch_kwargs = ConfigDict(small.NARROW[arch] | keys.arch_kwargs.to_dict())
    method = make_method(stage, keys, 3)
    try:
        variables = initialise(jax.random.key(0), method.module, (1, size, size, 3))
        check_size(method, variables, size)
    except InputError as error:
        assert "\n" not in str(error) and ("at least" in str(error) or "or more" in str(error))
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("arch", small.NARROW)
def test_every_network_is_trained_or_refused_in_one_line(arch):
    assert [is_large_enough("classifier", arch, size) for size in (1, 31, 96)] == [False, False, arch != "inception_v3"]


@pytest.mark.long
@pytest.mark.parametrize("size, fits", [(75, False), (106, False), (298, False), (299, True)])
def test_the_auxiliary_head_counts(size, fits):
    assert is_large_enough("classifier", "inception_v3", size) == fits


@pytest.mark.parametrize("stage", ["localizer", "joint"])
def test_other_heads(stage):
    assert not is_large_enough(stage, "inception_v3", 96) and is_large_enough(stage, "vgg_gap", 32)


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method):
    arch = "inception_v3" if method == "spg" else "vgg_gap"
    kwargs = ConfigDict(dict(stride=8))
    assert not is_large_enough("train", arch, 7, method=method, arch_kwargs=kwargs)
    assert is_large_enough("train", arch, 32, method=method, arch_kwargs=kwargs)
