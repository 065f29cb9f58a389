"""Several processes: their flags, and one end for all of them."""

import os
import re
import signal
import socket
import threading
from pathlib import Path

import compiling
import pytest
import tiny
from jax._src.lib import _jax

from wsol_jax.errors import InputError
from wsol_jax.processes import STOPPED
from wsol_jax.tools import joining
from wsol_jax.tools.distributed import run_together

AWAY = """
    import sys
    from wsol_jax.tools import distributed, joining

    joining.SECONDS_FOR_COORDINATOR = int(sys.argv.pop())
    joining.SECONDS_FOR_ANSWER = 1
    sys.exit(distributed.run_together(sys.argv[1:], print))
"""

FAILS = """
    import sys, time
    from jax.experimental import multihost_utils
    from wsol_jax import InputError, processes
    from wsol_jax.tools.distributed import run_together

    def command(arguments):
        processes.require_equal("before", {"same": arguments})
        assert processes.from_first(processes.number) == 0
        time.sleep(processes.number())  # longer than one slice of the first one's wait
        processes.barrier()
        if arguments == ["differ"]:
            processes.require_equal("after", {"number": processes.number()})
        elif arguments == ["fail"] and processes.is_first():
            raise InputError("two\\nlines")
        elif arguments == ["wait"] and processes.is_first():
            raise SystemExit(processes.STOPPED)
        multihost_utils.sync_global_devices("no process comes here together with the other one")

    sys.exit(run_together(sys.argv[1:], command))
"""

KILLED = """
    import os, signal, sys, time
    from jax.experimental import multihost_utils
    from wsol_jax import processes
    from wsol_jax.tools import distributed, heartbeats

    def command(how):
        multihost_utils.sync_global_devices("both")
        if not processes.is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        if how == ["exchange"]:
            multihost_utils.sync_global_devices("that the other one never reaches")
        time.sleep(1000)

    if sys.argv[-1] == "exchange":
        heartbeats.SECONDS_AFTER_ERROR = 3
    else:
        heartbeats.SECONDS = 3
    sys.exit(distributed.run_together(sys.argv[1:], command))
"""

FLAGS = {
    "both": (["--distributed", "--process_id=1"], "--distributed and --process_id are both given"),
    "one missing": (
        ["--coordinator=a:1", "--process_id=0"],
        "--coordinator is given; expected --num_processes as well",
    ),
    "no port": (["--coordinator=a", "--num_processes=2", "--process_id=0"], "--coordinator=a: expected HOST:PORT"),
    "number": (
        ["--coordinator=a:1", "--num_processes=2", "--process_id=2"],
        "--process_id=2: expected 0 to 1, of --num_processes=2",
    ),
    "no processes": (
        ["--coordinator=a:1", "--num_processes=0", "--process_id=0"],
        "--num_processes=0: expected 1 or more",
    ),
    "no number": (["--num_processes=two"], "argument --num_processes: invalid int value: 'two'"),
    "elsewhere": (["--distributed"], "--distributed: JAX finds no TPU pod, Slurm, Open MPI or Kubernetes here"),
}


@pytest.mark.parametrize(("flags", "expected"), FLAGS.values(), ids=FLAGS)
def test_a_mistake_is_one_line(flags, expected, capsys, monkeypatch):
    def initialize(*_, **__):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", initialize)
    assert run_together(flags, lambda _: None) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"error: .+\n", err) and expected in err


def test_a_command_gets_the_other_arguments():
    received = []
    assert run_together(["--config=a", "--workdir=b"], received.extend) == 0
    assert received == ["--config=a", "--workdir=b"]


def test_every_end_has_its_code(capsys):
    def sigterm(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not stopped")

    def raising(error: BaseException) -> int:
        def command(_: object) -> None:
            raise error

        return run_together([], command)

    before = signal.getsignal(signal.SIGTERM)
    assert run_together([], sigterm) == STOPPED == 75
    assert signal.getsignal(signal.SIGTERM) == before
    assert raising(KeyboardInterrupt()) == 130
    assert raising(SystemExit(0)) == 0
    assert raising(InputError("wrong")) == raising(FileNotFoundError("wrong")) == 2
    line = "stopped; the same command continues from here\n"
    assert capsys.readouterr().err == line + line + "error: wrong\n" * 2
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, STOPPED), (signal.SIGINT, 130)])
def test_a_signal_whose_exception_an_extension_replaces_stops_the_run(number, code, capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores Ctrl-C

    def command(_: object) -> None:
        try:
            os.kill(os.getpid(), number)
        except BaseException:  # as pybind11 does
            raise RuntimeError("the end of the data") from None

    try:
        assert run_together([], command) == code
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "stopped; the same command continues from here\n"


def by_hand(address: str, number: int) -> list[str]:
    return [f"--coordinator={address}", "--num_processes=2", f"--process_id={number}"]


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_coordinator_that_is_not_there_is_one_line(is_taken):
    """Another program at its port accepts connections, and is silent."""
    with socket.create_server(("localhost", 0)) as other:
        address = f"localhost:{other.getsockname()[1]}" if is_taken else tiny.free_address()
        process = tiny.python(AWAY, *by_hand(address, 1), 1, XLA_FLAGS=compiling.FLAGS)
        out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (2, b"")
    assert err.decode() == (
        f"error: process 1 waited 1 s for process 0 at {address}, where nothing answers, or another program; expected "
        "its host and a port that no firewall closes\n"
    )


def test_a_coordinator_is_known_by_its_answer():
    address = tiny.free_address()
    assert not joining._is_coordinator(address) and not joining._is_coordinator(None)
    service = _jax.get_distributed_runtime_service(f"[::]:{address.rpartition(':')[2]}", 2)
    try:
        assert joining._is_coordinator(address)
    finally:
        service.shutdown()


def test_another_program_that_answers_is_no_coordinator():
    with socket.create_server(("localhost", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        threading.Thread(target=greet, daemon=True).start()
        assert not joining._is_coordinator(f"localhost:{other.getsockname()[1]}")


def test_a_port_that_is_taken_is_one_line(capsys):
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        assert run_together(by_hand(address, 0), print) == 2
    assert (
        capsys.readouterr().err
        == f"error: --coordinator={address}: this port cannot be used (Address already in use)\n"
    )


def test_a_second_process_of_a_number_is_one_line_and_a_signal_ends_the_wait_for_the_others():
    """JAX would abort both of the same number, and let no signal through while it waits."""
    address = tiny.free_address()
    name = f"@wsol_jax/{address}/1"
    first = tiny.python(AWAY, *by_hand(address, 1), 500, XLA_FLAGS=compiling.FLAGS)
    tiny.wait_for(lambda: name in Path("/proc/net/unix").read_text())
    second = tiny.python(AWAY, *by_hand(address, 1), 500, XLA_FLAGS=compiling.FLAGS)
    out, err = second.communicate(timeout=100)
    assert (second.returncode, out) == (2, b"")
    assert err.decode() == (
        f"error: --process_id=1: this host runs process 1 of --coordinator={address} already; expected another number "
        "for each\n"
    )
    first.terminate()
    out, err = first.communicate(timeout=100)
    assert (first.returncode, out) == (STOPPED, b"")
    assert err.decode() == "stopped; the same command continues from here\n"


ENDS = {
    "differ": (2, 1, "error: after: number is 1 in process 1 and 0 in process 0; expected the same in all processes"),
    "fail": (2, 0, "error: two lines"),
    "wait": (STOPPED, 0, "stopped; the same command continues from here"),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_first_that_fails_ends_both_with_its_line_and_code(how):
    code, failing, line = ENDS[how]
    address = tiny.free_address()
    both = [tiny.python(FAILS, *by_hand(address, number), how, XLA_FLAGS=compiling.FLAGS) for number in range(2)]
    for number, process in enumerate(both):
        _, err = process.communicate(timeout=200)
        lines = [text for text in err.decode().splitlines() if not text.startswith("[Gloo]")]
        assert process.returncode == code, err.decode()
        assert lines[-1] == (line if number == failing else f"process {failing}: {line}")


@pytest.mark.parametrize("how", ["alone", pytest.param("exchange", marks=pytest.mark.long)])
def test_a_process_that_is_killed_ends_the_others_with_a_line(how):
    address = tiny.free_address()
    both = [tiny.python(KILLED, *by_hand(address, number), how, XLA_FLAGS=compiling.FLAGS) for number in range(2)]
    first, (_, err), _ = both[0], *(process.communicate(timeout=200) for process in both)
    assert first.returncode == 1, err.decode()
    lines = [text for text in err.decode().splitlines() if not text.startswith("[Gloo]")]
    gone = "process 1: error: it was killed, or its host is gone: no sign of life for 3 s"
    assert len(lines) == 1
    assert lines[0] == gone if how == "alone" else lines[0].startswith(f"{gone}; process 0 then failed: ")
