"""Training to the last step, also if it is killed on the way."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wsol_jax import processes
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.training import loop
from wsol_jax.training.checkpoints import open_checkpoints, restore
from wsol_jax.training.log import read_log
from wsol_jax.training.step import TrainState

TRAIN = """
    import json, sys
    from pathlib import Path
    import tiny

    tiny.experiment(**json.loads(sys.argv[2])).train(Path(sys.argv[1]), tiny.mesh(1))
"""


def last_state(folder: Path, like: TrainState) -> TrainState:
    return restore(open_checkpoints(folder / "checkpoints"), like, tiny.mesh(1))


def kill_when(moment: Callable[[], bool], process: subprocess.Popen) -> None:
    """Kill a process at a moment; it is halted first, so that the moment cannot pass in between."""
    try:
        while True:
            tiny.wait_for(lambda: moment() or process.poll() is not None)
            assert process.poll() is None, process.stderr.read().decode()
            process.send_signal(signal.SIGSTOP)
            if moment():
                break
            process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.communicate()


def test_a_run_killed_at_any_moment_ends_as_an_uninterrupted_one(tmp_path):
    changes = dict(arch="vgg_gap", epochs=12 * 8 / 24, checkpoint_every=2)
    cut, uncut = tmp_path / "cut", tmp_path / "uncut"

    def saving(files: int) -> bool:
        """Whether a checkpoint is being written and has at least so many files."""
        return any(len(list(path.rglob("*"))) >= files for path in tiny.saves(cut, "*tmp*"))

    moments = [
        lambda: len(read_log(cut)) >= 1,  # before the first checkpoint, most likely
        lambda: tiny.saves(cut, "2") and saving(0),  # as soon as a later one is begun
        lambda: len(read_log(cut)) >= 6 and saving(8),  # in the midst of one
    ]
    for moment in moments:
        kill_when(moment, tiny.python(TRAIN, cut, json.dumps(changes)))
        assert len(read_log(cut)) < 12
    _, errors = (last := tiny.python(TRAIN, cut, json.dumps(changes))).communicate(timeout=300)
    assert last.returncode == 0, errors.decode()

    state = tiny.experiment(**changes).train(uncut, tiny.mesh(1))
    assert state.step == 12
    tiny.assert_trees_equal(last_state(cut, state), state)
    assert [line["step"] for line in read_log(cut)] == list(range(1, 13))
    assert (cut / "log.jsonl").read_text() == (uncut / "log.jsonl").read_text()
    assert sorted(path.name for path in tiny.saves(cut, "*")) == ["10", "12"]


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment(arch="vgg_gap", epochs=6 * 8 / 24)


@pytest.fixture(scope="module")
def trained(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "localizer"
    return folder, experiment.train(folder, tiny.mesh(1))


def test_a_run_that_is_cut_off_continues(experiment, trained, tmp_path):
    """Cut off after three steps, of which two are in a checkpoint, and in the middle of a line of the log."""
    folder, mesh, requested = tmp_path / "localizer", tiny.mesh(1), []

    def batches(steps: range) -> Iterator[Batch]:
        requested.append(steps)
        return experiment.batches(steps, mesh)

    def cut_off(steps: range) -> Iterator[Batch]:
        for at, batch in zip(steps, batches(steps), strict=True):
            if at == 5:  # two more are already on their way to the devices
                tiny.wait_for(lambda: tiny.saves(folder, "2"))
                raise ConnectionError
            yield batch

    with pytest.raises(ConnectionError):
        experiment.train(folder, mesh, cut_off)
    assert [line["step"] for line in read_log(folder)] == [1, 2, 3]
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "io')
    for _ in range(2):  # the second time no step is left
        state = experiment.train(folder, mesh, batches)
        tiny.assert_trees_equal(state, trained[1])
        assert (folder / "log.jsonl").read_text() == (trained[0] / "log.jsonl").read_text()
    assert requested == [range(0, 6), range(2, 6), range(6, 6)]


def test_the_files_and_the_state_of_a_training(experiment, trained):
    folder, state = trained
    assert state.step == 6
    lines = read_log(folder)
    assert [set(line) for line in lines] == [{"step", "loss", "iou"}] * 6
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert next((folder / "tensorboard").iterdir()).name.startswith("events.out.tfevents")
    tiny.assert_trees_equal(last_state(folder, state), state)
    before = jax.tree.leaves(experiment.variables["params"])
    assert all((a != b).any() for a, b in zip(jax.tree.leaves(state.params), before, strict=True))


def test_the_last_step_is_always_logged_and_saved(tmp_path):
    experiment = tiny.experiment(arch="vgg_gap", log_every=3, checkpoint_every=3, epochs=3.5 * 8 / 24)
    experiment.train(tmp_path / "localizer", tiny.mesh(1))
    assert [line["step"] for line in read_log(tmp_path / "localizer")] == [3, 4]
    assert sorted(path.name for path in tiny.saves(tmp_path / "localizer", "*")) == ["3", "4"]


def test_checkpoints_by_time(experiment, trained, tmp_path):
    keys = experiment.config.copy_and_resolve_references()
    keys.update(checkpoint_every=100, checkpoint_minutes=1e-9)
    state = experiment._replace(config=keys).train(tmp_path / "localizer", tiny.mesh(1))
    assert sorted(path.name for path in tiny.saves(tmp_path / "localizer", "*")) == ["5", "6"]
    tiny.assert_trees_equal(state, trained[1])


def test_tensorboard_has_rate_speed_gradient_and_photos(trained):
    events = EventAccumulator(str(trained[0] / "tensorboard"))
    events.Reload()
    tags = {tag for names in events.Tags().values() if isinstance(names, list) for tag in names}
    assert tags >= {"loss", "iou", "learning_rate", "gradient_norm", "steps_per_second", "photos"}


def test_progress_counts_steps_that_are_finished(experiment, tmp_path, monkeypatch):
    shown = []

    @contextmanager
    def meter(total, name):
        yield lambda done, detail: shown.append((done, total, name, detail))

    monkeypatch.setattr(loop, "meter", meter)
    experiment.train(tmp_path / "localizer", tiny.mesh(1))
    assert [done for done, *_ in shown] == [8, 16, 24, 32, 40, 48]
    assert shown[1][1:] == (48, "localizer", "step 2 of 6, epoch 0.67 of 2")


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    experiment = tiny.experiment("classifier", "vgg_gap", learning_rate=1e20)
    with pytest.raises(InputError, match=r"^classifier: the loss is (nan|inf) at step \d; lower learning_rate$"):
        experiment.train(tmp_path / "classifier", tiny.mesh(1))
    assert all(np.isfinite(line["loss"]) for line in read_log(tmp_path / "classifier"))


def test_parameters_that_are_not_finite_never_reach_a_checkpoint(tmp_path):
    """The loss of the first step is finite, its update is not, and the next line of the log is far away."""
    experiment = tiny.experiment("classifier", "vgg_gap", learning_rate=1e39, log_every=100, checkpoint_every=1)
    with pytest.raises(InputError, match=r"^classifier: parameters are not finite after step 1; lower learning_rate$"):
        experiment.train(tmp_path / "classifier", tiny.mesh(1))
    assert tiny.saves(tmp_path / "classifier", "*") == []


def test_sigterm_saves_a_checkpoint_and_the_same_command_continues(experiment, trained, tmp_path):
    folder, mesh = tmp_path / "localizer", tiny.mesh(1)

    def batches(steps: range) -> Iterator[Batch]:
        for at, batch in zip(steps, experiment.batches(steps, mesh), strict=True):
            if at == 4:  # requested in step 2, after two steps are done
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        experiment.train(folder, mesh, batches)
    assert stop.value.code == processes.STOPPED
    assert signal.getsignal(signal.SIGTERM) == before
    assert sorted(path.name for path in tiny.saves(folder, "*")) == ["2", "3"]  # the third by request
    tiny.assert_trees_equal(experiment.train(folder, mesh), trained[1])
    assert (folder / "log.jsonl").read_text() == (trained[0] / "log.jsonl").read_text()


def test_a_step_transfers_nothing_but_its_batch_and_logs(experiment, trained, tmp_path):
    """From the fourth batch on every other transfer raises; JAX on CPU knows those to the device only."""
    mesh = tiny.mesh(2)

    def batches(steps: range) -> Iterator[Batch]:
        for at, batch in zip(steps, experiment.batches(steps, mesh), strict=True):
            if at == 4:
                jax.config.update("jax_transfer_guard", "disallow")
            yield batch

    try:
        state = experiment.train(tmp_path / "localizer", mesh, batches)
    finally:
        jax.config.update("jax_transfer_guard", "allow")
    assert jax.device_get(state.step) == 6


def test_another_network_does_not_continue(trained):
    other = tiny.experiment(arch="vgg_gap", arch_kwargs=dict(depths=(1, 1, 1, 1, 1), widths=(4, 4, 6, 6, 9)))
    with pytest.raises(InputError, match=r"checkpoint .*/6: .*features\.12\.bias: shape \(8,\); expected shape \(9,\)"):
        other.train(trained[0], tiny.mesh(1))
