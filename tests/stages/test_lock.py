"""One run at a time in a workdir; the next one knows whether the process in its lock still lives."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.stages import lock
from wsol_jax.stages.lock import locked
from wsol_jax.stages.workdir import lock_file

ROOT = Path(__file__).parents[2]
HOLD = """
    import signal, sys, time
    from pathlib import Path
    from wsol_jax.stages.lock import locked

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores Ctrl-C
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(100)
"""


def holding(workdir) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(workdir)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"held\n"
    return process


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write(workdir, **changes) -> None:
    mine = dict(host=socket.gethostname(), process=os.getpid(), started=lock._started(os.getpid()), since="yesterday")
    lock_file(workdir).write_text(json.dumps(mine | changes))


def test_nothing_is_left_after_the_end_or_an_error(tmp_path):
    with locked(tmp_path):
        holder = json.loads(lock_file(tmp_path).read_text())
        assert (holder["host"], holder["process"]) == (socket.gethostname(), os.getpid())
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_the_second_knows_who_has_it_and_the_next_takes_its_place(number, tmp_path):
    process = holding(tmp_path)
    words = (
        rf"^--workdir=\S+ is in use by process {process.pid} on {socket.gethostname()} since \d{{4}}-.*; wait for it"
    )
    with pytest.raises(InputError, match=words), locked(tmp_path):
        pass
    process.send_signal(number)
    assert process.wait(timeout=60) == (1 if number == signal.SIGINT and process.returncode == 1 else -number)
    process.communicate()
    assert lock_file(tmp_path).exists() == (number == signal.SIGKILL)
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_stale_locks(dead, tmp_path):
    for changes in (dict(process=dead), dict(started=1)):  # ended; or another process has its number now
        write(tmp_path, **changes)
        with locked(tmp_path):
            assert json.loads(lock_file(tmp_path).read_text())["since"] != "yesterday"
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content, words",
    [
        (dict(host="elsewhere"), r"process \d+ on elsewhere since yesterday, another host; .* delete \S+/run\.lock$"),
        (dict(), "wait for it or stop it, or use another workdir$"),
        ("no JSON", r"in use by another run; if there is none, delete \S+/run\.lock$"),
        ("[]", "if there is none, delete"),
        ('{"host": "a", "process": "b"}', "if there is none, delete"),
    ],
)
def test_what_is_not_known_to_be_dead_is_left(content, words, tmp_path):
    write(tmp_path, **content) if isinstance(content, dict) else lock_file(tmp_path).write_text(content)
    before = lock_file(tmp_path).read_text()
    with pytest.raises(InputError, match=words), locked(tmp_path):
        pass
    assert lock_file(tmp_path).read_text() == before and len(list(tmp_path.iterdir())) == 1


def test_of_many_at_once_one_gets_it(dead, tmp_path):
    write(tmp_path, process=dead)
    start, inside, refused = threading.Barrier(8), [], []

    def attempt():
        start.wait()
        try:
            with locked(tmp_path):
                inside.append(1)
                done.wait(60)
        except InputError:
            refused.append(1)
            if len(refused) == 7:
                done.set()

    done = threading.Event()
    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 7)


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError

    monkeypatch.setattr(lock.os, "link", no_links)
    with locked(tmp_path), pytest.raises(InputError, match="in use by process"), locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks(dead, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    lock_file(tmp_path).write_text(
        json.dumps({"host": socket.gethostname(), "process": dead, "started": 1, "since": ""})
    )
    with locked(tmp_path):
        assert json.loads(lock_file(tmp_path).read_text())["process"] == os.getpid()


def test_a_process_that_another_one_ends_leaves_no_lock(tmp_path):
    program = "import sys; from pathlib import Path; from wsol_jax import processes; from wsol_jax.stages import lock\n"
    program += "with lock.locked(Path(sys.argv[1])): processes.leave(3)"
    assert subprocess.run([sys.executable, "-c", program, tmp_path], cwd=Path(__file__).parents[2]).returncode == 3
    assert not list(tmp_path.iterdir())


def test_unfinished_files_of_the_dead_are_removed(dead, tmp_path):
    host = socket.gethostname()
    (tmp_path / "a" / "b").mkdir(parents=True)
    theirs = [tmp_path / "a" / "b" / f"metrics.json.{host}.{dead}.part", tmp_path / f"x.{host}.{dead}.part"]
    others = [
        tmp_path / f"x.{host}.{os.getpid()}.part",  # lives
        tmp_path / f"x.elsewhere.{dead}.part",
        tmp_path / "a" / "mine.part",
        tmp_path / "a" / f"x.{host}.{dead}.txt",
    ]
    for path in theirs + others:
        path.touch()
    with locked(tmp_path):
        assert not any(path.exists() for path in theirs) and all(path.exists() for path in others)


def test_in_a_store_one_run_holds_it_and_the_dead_give_it_back(store, dead):
    workdir = to_path("gs://bucket/run")
    with locked(workdir):
        assert json.loads(lock_file(workdir).read_text())["process"] == os.getpid()
        with pytest.raises(InputError, match=f"gs://bucket/run is in use by process {os.getpid()} on"), locked(workdir):
            pass
    assert not store.objects
    content = dict(host=socket.gethostname(), process=dead, started=1, since="yesterday")
    lock_file(workdir).write_bytes(json.dumps(content).encode())
    with locked(workdir):
        assert json.loads(lock_file(workdir).read_text())["process"] == os.getpid()
    lock_file(workdir).write_bytes(json.dumps(content | {"host": "elsewhere"}).encode())
    with pytest.raises(
        InputError, match=r"on elsewhere.*if it does not run any more, delete gs://bucket/run/run\.lock"
    ):
        locked(workdir).__enter__()


@pytest.mark.parametrize("place", ["gs://bucket/run", "gs://absent/run"])
def test_a_store_that_refuses_the_lock_is_one_line(store, place):
    store.refuses = "absent" not in place
    reason = "PERMISSION_DENIED: no access" if store.refuses else "NOT_FOUND: The specified bucket does not exist"
    with pytest.raises(InputError, match=rf"^--workdir={place}: it cannot be written to \({reason}\.?\)$"):
        locked(to_path(place)).__enter__()
