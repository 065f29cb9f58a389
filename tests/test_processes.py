"""The processes of a run, as one process sees them; tests of several are in tools/test_distributed.py."""

import os
import signal
import threading

import jax
import pytest

from wsol_jax import processes
from wsol_jax.errors import InputError


def test_one_process_is_the_first_and_waits_for_nothing():
    assert (processes.count(), processes.number(), processes.is_first()) == (1, 0, True)
    processes.barrier()
    processes.wait_for_first()
    with processes.first_goes_ahead():
        assert processes.from_first(lambda: {"a": [1]}) == {"a": [1]}
    assert processes.is_set_anywhere(True) and not processes.is_set_anywhere(False)


class Late:
    """JAX's coordination, as the first of three processes sees it: the others come after many slices of waiting."""

    def __init__(self):
        self.values, self.slices = {}, 0

    def key_value_set(self, key, value):
        self.values[key] = value

    def blocking_key_value_get(self, key, milliseconds):
        assert milliseconds <= 500  # signals are handled in between
        if key not in self.values:
            self.slices += 1
            if self.slices % 100 == 0:
                self.values[key] = "here"
            raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: GetKeyValue() timed out")
        return self.values[key]


def test_all_processes_are_waited_for_without_a_limit(monkeypatch):
    coordination = Late()
    monkeypatch.setattr(processes.global_state, "client", coordination)
    monkeypatch.setattr(processes.global_state, "num_processes", 3)
    processes.barrier()
    assert coordination.slices == 200
    assert sorted(key.rpartition("/")[2] for key in coordination.values) == ["0", "1", "2"]
    before = set(coordination.values)
    processes.barrier()
    assert coordination.slices == 400 and not before & set(list(coordination.values)[3:])


def test_values_that_json_does_not_keep_apart_are_equal():
    processes.require_equal("keys", {"a": (1, 2), "b": "c"})


def test_a_value_that_differs_is_named(monkeypatch):
    monkeypatch.setattr(processes, "from_first", lambda decide: {"a": 1, "b": 2, "only": 3})
    with pytest.raises(InputError) as error:
        processes.require_equal("configurations", {"a": 1, "b": 4, "only": 3})
    assert str(error.value) == (
        "configurations: b is 4 in process 0 and 2 in process 0; expected the same in all processes"
    )
    with pytest.raises(InputError, match="only is None in process"):
        processes.require_equal("configurations", {"a": 1, "b": 2})


def test_a_request_to_stop_waits_for_its_reader():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with processes.stop_requests() as is_requested:
            assert not is_requested()
            os.kill(os.getpid(), signal.SIGTERM)
            assert is_requested()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_have_no_signals():
    seen = []

    def work():
        with processes.stop_requests() as is_requested:
            seen.append(is_requested())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
