"""The best checkpoint: of the largest value, the first of equal ones, and the same after a training was cut off."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Variables
from wsol_jax.training.best_epoch import Select, describe
from wsol_jax.training.checkpoints import load_variables
from wsol_jax.training.log import SELECT, read_log


def scripted(values: list[float], seen: list[Variables]) -> Select:
    """Values in the order of the measurements, and copies of the measured networks."""
    left = iter(values)

    def select(variables: Variables) -> float:
        seen.append(jax.tree.map(np.array, {name: variables[name] for name in ("params", "batch_stats")}))
        return next(left)

    return select


def kept(folder: Path) -> list[str]:
    return [path.name for path in (folder / "best").iterdir()]


@pytest.fixture(scope="module")
def experiment():
    """Twelve steps, three of them an epoch."""
    return tiny.experiment(arch="vgg_gap", epochs=4.0, checkpoint_every=4)


@pytest.fixture(scope="module")
def uncut(experiment, tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("uncut"), []
    experiment.train(folder, tiny.mesh(1), select=scripted([1.0, 5.0, 5.0, 4.0], seen))
    return folder, seen


def test_the_first_epoch_of_the_largest_value_is_kept(uncut):
    folder, seen = uncut
    lines = [(line["step"], line["epoch"], line["value"]) for line in read_log(folder, SELECT)]
    assert lines == [(3, 1, 1.0), (6, 2, 5.0), (9, 3, 5.0), (12, 4, 4.0)] and kept(folder) == ["6"]
    tiny.assert_trees_equal(load_variables(folder / "best"), seen[1])
    assert describe(folder).endswith("the network of epoch 2, with 5.00; the last one, of epoch 4, has 4.00")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_training_that_is_cut_off_ends_with_the_same(experiment, uncut, lost, tmp_path):
    """Cut off after six steps, of which four are in a checkpoint to continue from; before or after the sixth's line."""
    folder, mesh = tmp_path / "cut", tiny.mesh(1)

    def cut_off(steps: range) -> Iterator[Batch]:
        for at, batch in zip(steps, experiment.batches(steps, mesh), strict=True):
            if at == 8:  # two more are already on their way to the devices
                tiny.wait_for(lambda: tiny.saves(folder, "4"))
                raise ConnectionError
            yield batch

    with pytest.raises(ConnectionError):
        experiment.train(folder, mesh, cut_off, select=scripted([1.0, 5.0], []))
    assert kept(folder) == ["6"]
    lines = (folder / SELECT).read_text().splitlines(keepends=True)
    (folder / SELECT).write_text("".join(lines[: len(lines) - lost]))
    experiment.train(folder, mesh, select=scripted([5.0, 5.0, 4.0], again := []))
    assert (folder / SELECT).read_text() == (uncut[0] / SELECT).read_text() and kept(folder) == ["6"]
    tiny.assert_trees_equal(again, uncut[1][1:])
    tiny.assert_trees_equal(load_variables(folder / "best"), uncut[1][1])
