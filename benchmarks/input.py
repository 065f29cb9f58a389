"""Processor time of the input pipeline, a photo, against a PyTorch DataLoader with the same transforms.

    python benchmarks/input.py [--photos=FOLDER]

FOLDER has JPEGs, in folders or not; without it, 500 x 375 noise is written. Both sides decode with Pillow, resize a
random crop to 224 pixels by the same call, mirror half of the crops and stack uint8 batches; they are measured in
turns. Without torch ours is measured alone.

`serial` is what holds Python's lock: the pipeline's processor time for photos and crops of 8 pixels, whose decoding
and resizing cost next to nothing. It is a little more than the truth, and bounds photos/s on any number of cores.
"""

import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import app, flags

PHOTOS = flags.DEFINE_string("photos", "", "A folder of JPEGs.")
BATCHES = flags.DEFINE_integer("batches", 4, "Batches of 64 in a round.")
ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds of each side.")
WORKERS = flags.DEFINE_integer("workers", 2, "Processes of the DataLoader.")
BATCH, SIZE, TINY = 64, 224, 8


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    with tempfile.TemporaryDirectory() as folder:
        files = (
            sorted(Path(PHOTOS.value).expanduser().rglob("*.jpg"))[:256] if PHOTOS.value else _write(folder, 500, 375)
        )
        sides = {"ours": lambda: _ours(files, SIZE)}
        tiny = _write(folder, TINY, TINY)
        sides["ours, serial"] = lambda: _ours(tiny, TINY)
        try:
            import torch  # noqa: F401

            sides["DataLoader"] = lambda: _loader(files)
        except ImportError:
            print("torch is not installed: the DataLoader is left out")
        for run in sides.values():
            _measured(run)  # imports
        for name, run in [*sides.items()] * ROUNDS.value:
            spent, rate = _measured(run)
            print(f"{name}: {spent:.2f} ms of processor a photo, {rate:.0f} photos/s", flush=True)


def _write(folder: str, width: int, height: int) -> list[Path]:
    """Photos of smooth noise."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, height // 8 + 1, width // 8 + 1, 3), np.uint8)
    files = [Path(folder) / f"{width}_{number}.jpg" for number in range(BATCH)]
    for file, noise in zip(files, coarse, strict=True):
        Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)
    return files


def _measured(run: Callable[[], Iterable]) -> tuple[float, float]:
    """Milliseconds of processor a photo, of all processes, and photos per second."""
    start, began = _processor(), time.perf_counter()
    count = BATCH * sum(1 for _ in run())
    return 1000 * (_processor() - start) / count, count / (time.perf_counter() - began)


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _ours(files: list[Path], size: int) -> Iterable:
    import numpy as np

    from wsol_jax.data import plan
    from wsol_jax.data.photos import PhotoFiles
    from wsol_jax.data.records import NO_BOXES, Record
    from wsol_jax.data.render import render

    sizes = [(500, 375)] * len(files)  # for the plan, whatever the photos: crops of tiny ones would be tried too often
    root = Path(os.path.commonpath([file.parent for file in files]))
    records = [Record(str(file.relative_to(root)), 0, sizes[0], NO_BOXES) for file in files]
    boxes, each_size = np.tile([0.2, 0.2, 0.8, 0.8], (len(files), 1)), np.array(sizes)
    views = plan.training_views(0, sizes, boxes, "psol", (size, size), range(BATCH * BATCHES.value))

    def target(views: plan.View) -> np.ndarray:
        return plan.target_box(boxes[views.index], each_size[views.index], views)

    return render(PhotoFiles(root), records, views, size, BATCH, target)


def _loader(files: list[Path]) -> Iterable:
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Photos(Dataset):
        def __len__(self) -> int:
            return BATCH * BATCHES.value

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
