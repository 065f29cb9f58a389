"""Checkpoints: there and back, of another network, damaged, and on a disk that is full."""

import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from wsol_jax import devices
from wsol_jax.errors import InputError
from wsol_jax.training.checkpoints import finish, load_variables, open_checkpoints, restore, save
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.step import TrainState, initial_state


def state_of(step: int, devices_used: int = 1, **changes) -> TrainState:
    """A state whose numbers depend on its step."""
    experiment = tiny.experiment(**changes)
    optimiser = make_optimiser(experiment.config, 3.0, experiment.method.group)
    state = initial_state(experiment.variables, np.float32(0), optimiser)
    counted = jax.tree.map(lambda leaf: np.asarray(np.asarray(leaf) + step, leaf.dtype), state)
    return devices.replicate(counted, tiny.mesh(devices_used))


def written(folder: Path, *states: TrainState) -> Path:
    checkpoints = open_checkpoints(folder)
    for state in states:
        save(checkpoints, state)
    finish(checkpoints)
    return folder


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def states():
    return [state_of(step) for step in (2, 4, 6)]


@pytest.fixture(scope="module")
def saved(states, tmp_path_factory):
    return written(tmp_path_factory.mktemp("saved") / "checkpoints", *states)


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoints"))


PARTS = {
    "params": "parameters",
    "batch_stats": "batch statistics",
    "memory": "numbers of the method's memory",
    "opt_state": "numbers of the optimiser",
}


@pytest.mark.parametrize("number", [np.nan, -np.inf])
@pytest.mark.parametrize("field", PARTS)
def test_a_number_that_is_not_finite_in_any_part_of_a_state_is_not_written(field, number, states, tmp_path):
    """Adam's second moments, for example, can be infinite while the parameters are not."""
    leaves, structure = jax.tree.flatten(getattr(states[0], field))
    which = max(i for i, leaf in enumerate(leaves) if np.issubdtype(leaf.dtype, np.floating))
    leaves[which] = leaves[which].at[(-1,) * leaves[which].ndim].set(number)
    state = states[0]._replace(**{field: jax.tree.unflatten(structure, leaves)})
    expected = f"^w: {PARTS[field]} are not finite after step 2; lower learning_rate$"
    with pytest.raises(InputError, match=expected):
        written(tmp_path / "w" / "checkpoints", state)
    assert steps_in(tmp_path / "w" / "checkpoints") == []


def test_the_last_of_two_comes_back(saved, states):
    assert steps_in(saved) == ["4", "6"]
    tiny.assert_trees_equal(restore(open_checkpoints(saved), states[0], tiny.mesh(1)), states[-1])


def test_a_checkpoint_continues_on_other_devices(saved, states):
    restored = restore(open_checkpoints(saved), states[0], tiny.mesh(2))
    tiny.assert_trees_equal(restored, states[-1])
    assert {leaf.sharding for leaf in jax.tree.leaves(restored)} == {devices.replicated(tiny.mesh(2))}


def test_variables_are_those_of_the_last(saved, states):
    variables = load_variables(saved)
    tiny.assert_trees_equal(variables, {"params": states[-1].params, "batch_stats": states[-1].batch_stats})
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(variables))


def test_variables_of_another_network_are_refused(saved, states, caplog):
    caplog.set_level("WARNING")
    expected = {"params": states[-1].params, "batch_stats": states[-1].batch_stats}
    tiny.assert_trees_equal(load_variables(saved, expected=expected), load_variables(saved))
    more = expected["params"] | {"more": np.zeros(3)}
    with pytest.raises(InputError, match=r"^checkpoint \S+: params\.more: no array; expected shape \(3,\)$"):
        load_variables(saved, expected=expected | {"params": more})
    assert "etadata" not in caplog.text


def test_a_network_without_averages(tmp_path):
    state = state_of(1, arch="vgg_gap")
    folder = written(tmp_path / "checkpoints", state)
    tiny.assert_trees_equal(load_variables(folder), {"params": state.params, "batch_stats": {}})
    tiny.assert_trees_equal(restore(open_checkpoints(folder), state, tiny.mesh(1)), state)


def test_what_is_saved_is_copied_before_it_is_used_up(tmp_path):
    state = state_of(3, arch="vgg_gap")
    kept = jax.tree.map(np.array, state)
    checkpoints = open_checkpoints(tmp_path / "checkpoints")
    save(checkpoints, state)
    jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0 - 1, state), donate_argnums=0)(state)
    finish(checkpoints)
    tiny.assert_trees_equal(restore(open_checkpoints(tmp_path / "checkpoints"), kept, tiny.mesh(1)), kept)


def test_a_folder_without_checkpoints(tmp_path, states):
    assert restore(open_checkpoints(tmp_path / "checkpoints"), states[0], tiny.mesh(1)) is None
    for folder in (tmp_path / "checkpoints", tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no checkpoint; run the stage that trains it first"):
            load_variables(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(arch="vgg_gap"), r"batch_stats\.backbone\.bn1\.mean: shape \(8,\); expected no array"),
        (dict(stage="classifier"), r"opt_state.*head\.fc\.0\.bias: shape \(512,\); expected no array"),
        (
            dict(arch_kwargs=dict(depths=(1, 1, 2, 1), width=8)),
            r"batch_stats\.backbone\.layer3\.1\.bn1\.mean: no array; expected shape \(32,\)",
        ),
        (
            dict(arch_kwargs=dict(depths=(1, 1, 1, 1), width=4)),
            r"batch_stats\.backbone\.bn1\.mean: shape \(8,\); expected shape \(4,\)",
        ),
    ],
)
def test_the_first_difference_of_another_network_is_named(saved, changes, message):
    with pytest.raises(InputError, match=f"^checkpoint {saved}/6: {message}$"):
        restore(open_checkpoints(saved), state_of(0, **changes), tiny.mesh(1))


def needed(place: Path) -> list[Path]:
    """Files without which a checkpoint cannot be read: the index, the metadata, the numbers."""
    numbers = max(place.glob("default/ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size)
    return [place / "default" / "manifest.ocdbt", place / "default" / "_METADATA", numbers]


READ = """
    import sys
    from pathlib import Path
    import test_checkpoints as here

    def restore(folder):
        here.restore(here.open_checkpoints(folder), like, here.tiny.mesh(1))

    like = here.state_of(0)
    for folder in sys.argv[1:]:
        for read in (restore, here.load_variables):
            try:
                read(Path(folder))
            except here.InputError as error:
                print(error)
"""


def printed_by(source: str, *args: object) -> list[str]:
    """The lines that another Python prints, apart from this process, which errors in Orbax's threads would disturb."""
    process = tiny.python(source, *args, cwd=Path(__file__).parent)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return output.decode().splitlines()


def test_a_truncated_checkpoint_is_named_with_a_way_out(saved, states, tmp_path):
    files = needed(saved / "6")
    folders = [Path(shutil.copytree(saved, tmp_path / f"{i}")) for i in range(2 * len(files))]
    for i, folder in enumerate(folders):
        path = folder / files[i // 2].relative_to(saved)
        os.truncate(path, path.stat().st_size // 2 * (i % 2))
    lines = iter(printed_by(READ, *folders))
    for folder, restored, loaded in zip(folders, lines, lines, strict=True):
        start, end = (
            f"checkpoint {folder}/6 cannot be read (",
            "); delete that folder to continue from the one before it",
        )
        assert restored.startswith(start) and restored.endswith(end)
        assert loaded.startswith(start) and loaded.endswith(end)
    shutil.rmtree(folders[0] / "6")
    tiny.assert_trees_equal(restore(open_checkpoints(folders[0]), states[0], tiny.mesh(1)), states[1])


def test_a_save_that_was_cut_off_does_not_count(folder, states):
    shutil.copytree(folder / "6" / "default", folder / "8.orbax-checkpoint-tmp" / "default")
    tiny.assert_trees_equal(restore(open_checkpoints(folder), states[0], tiny.mesh(1)), states[-1])
    assert steps_in(folder) == ["4", "6"]


FILL = """
    import resource, sys
    from pathlib import Path
    import test_checkpoints as here

    checkpoints = here.open_checkpoints(Path(sys.argv[1]))
    try:
        here.save(checkpoints, here.state_of(2))
        checkpoints.wait_until_finished()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        here.save(checkpoints, here.state_of(4))
        here.finish(checkpoints)
    except here.InputError as error:
        print(error)
"""


def test_a_full_disk_spares_the_checkpoint_before(tmp_path, states):
    folder = tmp_path / "checkpoints"
    (line,) = printed_by(FILL, folder)
    assert line.startswith(f"a checkpoint cannot be written to {folder} (")
    assert "File too large" in line and line.endswith("; the one before it is kept")
    tiny.assert_trees_equal(restore(open_checkpoints(folder), states[0], tiny.mesh(1)), states[0])
    assert steps_in(folder) == ["2"]
