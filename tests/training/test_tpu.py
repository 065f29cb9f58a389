"""The training step as compiled for eight TPU chips, on a machine without any."""

import math

import jax
import pytest
import tiny

from benchmarks import tpu
from configs.base import get_config

NARROW = tiny.NARROW | {"densenet161": dict(depths=(1, 1, 1, 1), width=8, growth=4)}


@pytest.fixture(scope="module")
def mesh():
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")
    return tpu.make_mesh()


def lowered(arch, mesh):
    """The step of a narrow classifier, and its state argument, without numbers."""
    config = get_config().classifier.unlock()
    config.update(arch=arch, arch_kwargs=NARROW[arch], size=32, batch_size=2 * mesh.size)
    step = tpu.lower_step("classifier", config, tiny.CLASSES, mesh)
    (state, _), _ = step.args_info
    return step, state


def in_bytes(tree):
    return sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("arch", ["resnet50", "densenet161"])
def test_gradients_and_statistics_are_reduced_and_nothing_is_gathered(arch, mesh):
    """Batch norm sums over all photos twice forwards, and twice backwards in addition to its gradients."""
    step, state = lowered(arch, mesh)
    compiled = step.compile()
    counts, sizes = tpu.collectives(compiled.as_text())
    assert set(counts) == {"all-reduce"}
    parameters, statistics, logs = in_bytes(state.params), in_bytes(state.batch_stats), 8
    assert parameters + statistics < sizes["all-reduce"] <= parameters + 2 * statistics + logs
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes >= in_bytes(state)  # the new state takes the old one's place


@pytest.mark.parametrize("arch", ["resnet50", "densenet161", "efficientnet_lite0"])
def test_no_convolution_is_written_as_for_a_cpu(arch, mesh):
    """Each has a gradient by its kernel and, except the first, by its features; all three are convolutions."""
    step, state = lowered(arch, mesh)
    kernels = [leaf for leaf in jax.tree.leaves(state.params) if len(leaf.shape) == 4]
    assert step.as_text().count("stablehlo.convolution") == 3 * len(kernels) - 1


def test_domain_adaptation_reduces_and_gathers_nothing(mesh):
    """Not even the features, whose pixels are clustered, drawn and compared: only sums over all photos are shared."""
    config = get_config().train.unlock()
    config.update(arch_kwargs=NARROW["resnet50"] | dict(stride=8), size=64, batch_size=2 * mesh.size)
    config.dawsol.update(use=True, domain_loss="mmd_quadratic", samples=8)
    counts, _ = tpu.collectives(tpu.lower_step("train", config, tiny.CLASSES, mesh).compile().as_text())
    assert set(counts) == {"all-reduce"}


def test_collectives_are_counted_and_measured():
    program = """
      %a = f32[8,4]{1,0:T(8,128)S(1)} all-gather(%x), channel_id=1, dimensions={0}
      %b = (f32[2]{0:T(128)}, bf16[3,5]{1,0}, /*index=2*/pred[7]{0}) all-reduce-start(%y, %z, %w), to_apply=%sum
      %c = (f32[2]{0:T(128)}, bf16[3,5]{1,0}, pred[7]{0}) all-reduce-done(%b), metadata={op_name="all-reduce"}
      ROOT %d = f32[]{:T(128)} all-reduce(%e), to_apply=%sum
      %g = f32[9]{0} gather(%x, %i), offset_dims={}
    """
    counts, sizes = tpu.collectives(program)
    assert counts == {"all-gather": 1, "all-reduce": 2}
    assert sizes == {"all-gather": 128, "all-reduce": 8 + 30 + 7 + 4}
