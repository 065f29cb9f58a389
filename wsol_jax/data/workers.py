"""Processes that draw photos: Python's lock lets one process draw no more than some 3,000 a second, on any machine.

Each has a pipe for requests and one for results. Pixels are read from it straight into the array of their batch. A
process ends with the one that started it, however that ends: its pipe of requests is then closed.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import cv2
import numpy as np

from wsol_jax.data.drawing import draw
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError

Draw = Callable[[Sequence[Record], Sequence[View], np.ndarray], None]
"""Records, views and image -> nothing; see `drawing.draw`."""


@contextmanager
def workers(read: PhotoFiles, count: int) -> Iterator[Draw]:
    """Yield a function that draws as `drawing.draw` does, in one of `count` processes, while its thread waits.

    Args:
        read: the photos.
        count: of the processes, which end with the `with` block.
    """
    started = [_start(read) for _ in range(count)]
    idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
    for worker in started:
        idle.put(worker)

    def draw_elsewhere(records: Sequence[Record], views: Sequence[View], image: np.ndarray) -> None:
        worker = idle.get()
        try:
            _request(worker, records, views, image)
        finally:
            idle.put(worker)

    try:
        yield draw_elsewhere
    finally:
        for worker in started:
            worker.kill()
        for worker in started:
            worker.wait()


def _start(read: PhotoFiles) -> subprocess.Popen:
    """A new process, which imports while this one goes on."""
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    worker = subprocess.Popen(
        [sys.executable, "-m", "wsol_jax.data.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))},
        start_new_session=True,  # Ctrl-C is for the process that started it
    )
    pickle.dump(read, worker.stdin)
    worker.stdin.flush()
    return worker


def _request(worker: subprocess.Popen, records: Sequence[Record], views: Sequence[View], image: np.ndarray) -> None:
    try:
        pickle.dump((records, views, image.shape), worker.stdin)
        worker.stdin.flush()
        error = pickle.load(worker.stdout)
        if error is None and worker.stdout.readinto(image.reshape(-1)) < image.size:
            raise EOFError
    except (EOFError, BrokenPipeError) as lost:
        raise InputError(
            f"data.workers: a process that draws photos has ended, with code {worker.wait()}; expected room in memory "
            "for all of them, or 0 for threads"
        ) from lost
    if error is not None:
        raise error


def _serve() -> None:
    """Draw what is requested, until the pipe of requests is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process that started it first saves a checkpoint
    cv2.setNumThreads(1)
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no result
    read = pickle.load(requests)
    image = np.empty(0, np.uint8)
    while True:
        try:
            records, views, shape = pickle.load(requests)
        except EOFError:
            return
        image, error = image if image.shape == shape else np.empty(shape, np.uint8), None
        try:
            draw(read, records, views, image)
        except Exception as raised:
            error = raised
        pickle.dump(error, results)
        if error is None:
            results.write(image.data)
        results.flush()


if __name__ == "__main__":
    _serve()
