"""Processes of a run that do not agree; `processes.from_first` stands for the first of two."""

import experiments
import pytest

from wsol_jax import processes
from wsol_jax.errors import InputError
from wsol_jax.runs.agreement import require_same_configuration, require_same_program, require_same_workdir


@pytest.fixture
def differing(monkeypatch):
    """Lets the first process have other values than this one."""
    monkeypatch.setattr(processes, "count", lambda: 2)

    def change(values: dict[str, object]) -> None:
        monkeypatch.setattr(processes, "from_first", lambda decide: decide() | values)

    return change


@pytest.mark.parametrize("name", ["wsol_jax", "jax"])
def test_another_program_is_named(name, differing):
    differing({})
    require_same_program()
    differing({name: "0.1"})
    with pytest.raises(InputError, match=rf"^programs: {name} is '.+' in process 0 and '0\.1' in process 0; expected"):
        require_same_program()


def test_another_configuration_is_named(differing):
    differing({"--config.localizer.epochs": 3.0})
    with pytest.raises(InputError, match=r"^configurations: --config\.localizer\.epochs is 6\.0 in process"):
        require_same_configuration(experiments.load())


def test_a_workdir_without_the_lock_of_the_first_process_is_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "from_first", lambda decide: "its lock")
    expected = f"--workdir={tmp_path}: process 0 does not see the lock that process 0 took there; expected one folder"
    for content in (None, "of another run"):
        if content:
            (tmp_path / "run.lock").write_text(content)
        with pytest.raises(InputError, match=expected):
            require_same_workdir(tmp_path)
    (tmp_path / "run.lock").write_text("its lock")
    require_same_workdir(tmp_path)
