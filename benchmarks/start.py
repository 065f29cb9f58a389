"""Seconds and memory of what grows with the number of photos and needs no network: start, tables, metrics, page.

    python benchmarks/start.py --photos=100000 --folder=FOLDER

Writes a tree of tiny photos (hard links of a few files), and simulates the heat maps, predictions and true boxes of all
of them. Prints a line for each step: seconds of processor (of all threads, so that other programs on the machine do not
count), microseconds a photo, the most memory in use meanwhile, what of it the step adds a photo, and both in proportion
for the 1,281,167 photos of ImageNet. Memory is anonymous: the pages of mapped files are the system's to reclaim.
`first` is a start without an index of an earlier one, `again` the next; the file system's own cache is warm in both.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
from absl import app, flags, logging

PHOTOS = flags.DEFINE_integer("photos", 100_000, "Photos of 'test'; 'train' has one photo of each class.")
CLASSES = flags.DEFINE_integer("classes", 1000, "Folders.")
FOLDER = flags.DEFINE_string("folder", "", "Where photos and results are written; '' for a temporary folder.")
STEPS = flags.DEFINE_list("steps", [], "The beginnings of the names of the steps to print; [] for all.")
IMAGENET = 1_281_167
ORIGINALS = 64  # files; ext4 allows 65,000 links of each
BLOCK = 4096  # photos whose heat maps and logits are repeated


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    logging.set_verbosity(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(FOLDER.value or temporary)
        if not (folder / "photos").exists():
            _write_photos(folder)
        print(f"{PHOTOS.value} photos of {CLASSES.value} classes; the last two columns: {IMAGENET} photos")
        print(f"{'step':28} {'s':>8} {'us/photo':>9} {'peak MB':>8} {'B/photo':>8} {'s':>8} {'GB':>6}", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as workdir:
            _measure(folder / "photos", Path(workdir))


def _write_photos(folder: Path) -> None:
    from PIL import Image

    (folder / "originals").mkdir(parents=True)
    originals = [folder / "originals" / f"{number}.jpg" for number in range(ORIGINALS)]
    noise = np.random.default_rng(0).integers(0, 256, (ORIGINALS, 3, 4, 3), np.uint8)
    for file, pixels in zip(originals, noise, strict=True):
        Image.fromarray(pixels).resize((40, 30)).save(file)
    for label in range(CLASSES.value):
        for split, numbers in (("train", range(1)), ("test", range(label, PHOTOS.value, CLASSES.value))):
            of_class = folder / "photos" / split / f"n{label:08d}"
            of_class.mkdir(parents=True)
            for number in numbers:
                (of_class / f"n{label:08d}_{number}_{split}.JPEG").hardlink_to(originals[number % ORIGINALS])


def _measure(root: Path, workdir: Path) -> None:
    from configs.psol_imagenet import get_config
    from wsol_jax import devices
    from wsol_jax.data import load_dataset
    from wsol_jax.data.check import check_photos
    from wsol_jax.predictions.coco import write_coco
    from wsol_jax.predictions.export import export_boxes
    from wsol_jax.predictions.predictions import join, top_classes
    from wsol_jax.predictions.table import read_predictions, write_predictions
    from wsol_jax.pseudo.many_boxes import cut_boxes, scored_boxes
    from wsol_jax.runs.state import identities
    from wsol_jax.stages import evaluate, pseudo_boxes, report
    from wsol_jax.stages.context import Context
    from wsol_jax.stages.workdir import (
        activations_file,
        config_file,
        photos_file,
        predictions_file,
        pseudo_boxes_file,
    )
    from wsol_jax.training.batches import training_batches

    config = get_config()
    config.data.name, config.data.dir = "folder", str(root)
    config.data.index = table = str(workdir / "index.parquet")
    check = partial(check_photos, on_error="skip", cache=photos_file(workdir), report=print, table=Path(table))
    for when in ("first", "again"):
        dataset = _step(f"records, {when}", lambda: load_dataset(config.data, 0))
        dataset, _ = _step(f"check, {when}", partial(check, dataset, [*dataset.splits]))
    _step("fingerprints", lambda: identities(config, dataset, workdir, ["predict"]))
    records, mesh = dataset.splits["test"], devices.make_mesh()
    keys = {"config": config.localizer, "seed": 0, "steps": range(1), "mesh": mesh}
    _step("first training batch", lambda: next(training_batches(dataset, records, _boxes(len(records)), **keys)))

    truth = _boxes(len(records))
    records = [record._replace(boxes=truth[i : i + 1]) for i, record in enumerate(records)]
    dataset = dataset._replace(splits={"test": records})
    context = Context(workdir, dataset, 0, mesh, {})
    heat = _repeated(workdir / "heat.npy", (len(records), 14, 14))
    with mock.patch.object(pseudo_boxes, "heat_maps", lambda *_: iter([("test", heat)])):
        (cut,) = _step("boxes of heat maps", lambda: list(pseudo_boxes._heat_boxes(config.pseudo, context)))
    _step("boxes of score maps", lambda: cut_boxes(partial(scored_boxes, threshold=0.2), heat, "boxes"))
    logits = _repeated(workdir / "logits.npy", (len(records), 1000))
    classes = _step("top-5 of logits", lambda: top_classes(logits))
    predicted, table = join(cut.boxes, classes), predictions_file(workdir, "test")
    _step("write Parquet", lambda: write_predictions(table, records, predicted))
    write_predictions(pseudo_boxes_file(workdir, "test"), records, predicted._replace(box=_boxes(len(records))))
    _step("read Parquet", lambda: read_predictions(table, records))
    _step("write COCO", lambda: write_coco(workdir / "coco.json", records, predicted, dataset.classes))
    _step("write boxes/ in all formats", lambda: export_boxes(workdir / "b", records, predicted, dataset.classes, "x"))
    _step("evaluate", lambda: evaluate.run(config.evaluate, context))
    config_file(workdir).write_text("{}")
    _step("report, 200 photos", lambda: report.run(config.report, context))
    _repeated(activations_file(table), (len(records), 14, 14))
    _step("metrics of score maps", lambda: evaluate._map_metrics(config.evaluate, context))


def _boxes(count: int) -> np.ndarray:
    """Random boxes, float64 [n, 4]."""
    return np.sort(np.random.default_rng(0).random((count, 2, 2)), axis=1).reshape(count, 4)


def _repeated(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers in a mapped file, float32."""
    block = np.random.default_rng(0).normal(size=(BLOCK, *shape[1:])).astype(np.float32)
    array = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    for start in range(0, len(array), BLOCK):
        array[start : start + BLOCK] = block[: len(array) - start]
    return array


def _step(name: str, run: Callable[[], object]) -> object:
    """Return what a step returns, after its line."""
    before, peak, over = _memory(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], _memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    result = run()
    seconds = time.process_time() - start
    over.set()
    watcher.join()
    most = max(peak[0], _memory())
    of_photo, scale = (most - before) / PHOTOS.value, IMAGENET / PHOTOS.value
    if not STEPS.value or any(name.startswith(start) for start in STEPS.value):
        own = f"{name:28} {seconds:8.2f} {1e6 * seconds / PHOTOS.value:9.1f} {most / 1e6:8.0f} {of_photo:8.0f}"
        print(f"{own} {seconds * scale:8.0f} {of_photo * IMAGENET / 1e9:6.2f}", flush=True)
    return result


def _memory() -> int:
    """Anonymous memory in use, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    app.run(main)
