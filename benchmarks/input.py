"""Processor time of the input pipeline, a photo, against a PyTorch DataLoader with the same transforms.

    python benchmarks/input.py [--photos=FOLDER]

FOLDER has JPEGs, in folders or not; without it, 500 x 375 noise is written. Both sides decode with Pillow, resize a
random crop to 224 pixels by the same call, mirror half of the crops and stack uint8 batches; they are measured in
turns, ours with threads and with processes. Without torch ours is measured alone. The cost of a photo is what a long
run takes more than a short one, so that imports and the start of an iterator are not in it.

`locked` is the part during which a thread holds Python's lock, and bounds photos/s on any number of cores: every 4 ms
of processor time the running thread is interrupted and counted, and whether it holds the lock. Other processes that
want the cores do not count. It needs a C compiler, `cc`, and Linux 6.4, which interrupts the thread that runs.
"""

import ctypes
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

PHOTOS = flags.DEFINE_string("photos", "", "A folder of JPEGs.")
BATCHES = flags.DEFINE_integer("batches", 12, "Batches of 64 that a long run has more than a short one.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds of each side.")
WORKERS = flags.DEFINE_integer("workers", 2, "Processes of the DataLoader, and of ours where it has some.")
BATCH, SIZE, FEWEST = 64, 224, 2
INTERVAL = 0.004  # seconds of processor time

COUNTER = """
#include <signal.h>
int PyGILState_Check(void);
long seen, locked;
static void count(int number) {
    __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&locked, PyGILState_Check(), __ATOMIC_RELAXED);
}
void install(void) { signal(SIGPROF, count); }
"""


class Used(NamedTuple):
    """What a run took, in seconds.

    Attributes:
        processor: of all processes.
        locked: processor time of this process in which a thread held Python's lock.
        wall: from start to end.
    """

    processor: float
    locked: float
    wall: float


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    with tempfile.TemporaryDirectory() as folder:
        files = (
            sorted(Path(PHOTOS.value).expanduser().rglob("*.jpg"))[:256] if PHOTOS.value else _write(folder, 500, 375)
        )
        counter = _counter(folder)
        sides = {
            "ours, threads": lambda batches: _ours(files, batches, 0),
            "ours, processes": lambda batches: _ours(files, batches, WORKERS.value),
        }
        try:
            import torch  # noqa: F401

            sides["DataLoader"] = lambda batches: _loader(files, batches)
        except ImportError:
            print("torch is not installed: the DataLoader is left out")
        for run in sides.values():
            _used(run, FEWEST, counter)  # imports
        for name, run in [*sides.items()] * ROUNDS.value:
            few, many = (_used(run, batches, counter) for batches in (FEWEST, FEWEST + BATCHES.value))
            photo = Used(*((more - less) / BATCH / BATCHES.value for less, more in zip(few, many, strict=True)))
            spent = f"{1000 * photo.processor:.2f} ms of processor a photo, {1000 * photo.locked:.2f} of it locked"
            print(f"{name}: {spent}, {1 / photo.wall:.0f} photos/s", flush=True)


def _counter(folder: str) -> ctypes.CDLL:
    """The compiled counter, which counts from now on."""
    library = f"{folder}/counter.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=COUNTER, text=True, check=True)
    counter = ctypes.CDLL(library)
    counter.install()
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    return counter


def _used(run: Callable[[int], Iterable], batches: int, counter: ctypes.CDLL) -> Used:
    """What a run over some batches takes."""
    seen, locked = (ctypes.c_long.in_dll(counter, name) for name in ("seen", "locked"))
    seen.value = locked.value = 0
    start, own, began = _processor(), time.process_time(), time.perf_counter()
    count = sum(1 for _ in run(batches))
    assert count == batches
    share = locked.value / max(1, seen.value)
    return Used(_processor() - start, (time.process_time() - own) * share, time.perf_counter() - began)


def _write(folder: str, width: int, height: int) -> list[Path]:
    """Photos of smooth noise."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, height // 8 + 1, width // 8 + 1, 3), np.uint8)
    files = [Path(folder) / f"{width}_{number}.jpg" for number in range(BATCH)]
    for file, noise in zip(files, coarse, strict=True):
        Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)
    return files


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _ours(files: list[Path], batches: int, workers: int) -> Iterable:
    import numpy as np

    from wsol_jax.data import plan
    from wsol_jax.data.photos import PhotoFiles
    from wsol_jax.data.records import NO_BOXES, Record
    from wsol_jax.data.render import render

    sizes = [(500, 375)] * len(files)  # for the plan, whatever the photos
    root = Path(os.path.commonpath([file.parent for file in files]))
    records = [Record(str(file.relative_to(root)), 0, sizes[0], NO_BOXES) for file in files]
    boxes, each_size = np.tile([0.2, 0.2, 0.8, 0.8], (len(files), 1)), np.array(sizes)
    views = plan.training_views(0, sizes, boxes, "psol", (SIZE, SIZE), range(BATCH * batches))

    def target(views: plan.View) -> np.ndarray:
        return plan.target_box(boxes[views.index], each_size[views.index], views)

    return render(PhotoFiles(root, workers=workers), records, views, SIZE, BATCH, target)


def _loader(files: list[Path], batches: int) -> Iterable:
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Photos(Dataset):
        def __len__(self) -> int:
            return BATCH * batches

        def __getitem__(self, index: int):
            photo = Image.open(files[index % len(files)]).convert("RGB")
            image = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=_random_crop(*photo.size))
            if random.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return torch.from_numpy(np.array(image)), index

    return DataLoader(Photos(), BATCH, shuffle=True, num_workers=WORKERS.value)


def _random_crop(width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of torchvision's RandomResizedCrop: 20 to 100 % of the area, sides 3:4 to 4:3."""
    for _ in range(10):
        area = random.uniform(0.2, 1) * width * height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if w <= width and h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


if __name__ == "__main__":
    app.run(main)
