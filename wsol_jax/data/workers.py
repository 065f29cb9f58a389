"""Processes that draw photos: Python's lock lets one process draw no more than some 3,000 a second, on any machine.

Each has a pipe for requests and one for results. Pixels are read from it straight into the array of their batch. A
process ends with the one that started it, however that ends: its pipe of requests is then closed.
"""

import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import BinaryIO

import cv2
import numpy as np

from wsol_jax.data.drawing import draw
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError

_PROGRAM = """
import os, sys
results = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what a library prints is no result
sys.path[:] = {path!r}
from wsol_jax.data.workers import serve
serve(sys.stdin.buffer, results)
"""

Draw = Callable[[Sequence[Record], Sequence[View], np.ndarray], None]
"""Records, views and image -> nothing; see `drawing.draw`."""


@contextmanager
def workers(read: PhotoFiles, count: int) -> Iterator[Draw]:
    """Yield a function that draws as `drawing.draw` does, in one of `count` processes, while its thread waits.

    Args:
        read: the photos.
        count: of the processes, which end with the `with` block.
    """
    started = [_start() for _ in range(count)]
    idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
    for worker in started:
        idle.put(worker)

    def draw_elsewhere(records: Sequence[Record], views: Sequence[View], image: np.ndarray) -> None:
        worker = idle.get()
        try:
            _request(worker, read, records, views, image)
        finally:
            idle.put(worker)

    try:
        yield draw_elsewhere
    finally:
        for worker in started:
            worker.kill()
        for worker in started:
            worker.wait()


def _start() -> subprocess.Popen:
    """A new process, which imports while this one goes on."""
    # It inherits this: a scheduler may signal all processes of a job, of which the first one then saves a checkpoint.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the process that started it
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _request(
    worker: subprocess.Popen, read: PhotoFiles, records: Sequence[Record], views: Sequence[View], image: np.ndarray
) -> None:
    try:
        pickle.dump((read, records, views, image.shape), worker.stdin)
        worker.stdin.flush()
        error = pickle.load(worker.stdout)  # of this program, not from outside
        if error is None and worker.stdout.readinto(image.reshape(-1)) < image.size:
            raise EOFError
    except (EOFError, BrokenPipeError) as lost:
        code = worker.wait()
        killed = "expected room in memory for all of them, or 0 for threads"
        raise InputError(
            f"data.workers: a process that draws photos has ended, with code {code}; "
            f"{killed if code == -signal.SIGKILL else 'its own error is above'}"
        ) from lost
    if error is not None:
        raise error


def serve(requests: BinaryIO, results: BinaryIO) -> None:
    """Return results for what is requested, until the process that requests it has ended.

    Args:
        requests: pickles of the photos, records, views and the shape of the image.
        results: receives a pickle of an error or None, and after None the pixels.
    """
    cv2.setNumThreads(1)
    image = np.empty(0, np.uint8)
    with suppress(EOFError, pickle.UnpicklingError, BrokenPipeError):
        while True:
            read, records, views, shape = pickle.load(requests)
            image, error = image if image.shape == shape else np.empty(shape, np.uint8), None
            try:
                draw(read, records, views, image)
            except InputError as raised:
                error = raised
            except Exception as raised:
                raised.add_note(traceback.format_exc())  # where it was raised: pickles leave that out
                error = raised
            pickle.dump(error, results)
            if error is None:
                results.write(image.data)
            results.flush()
