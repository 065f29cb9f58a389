"""Time of DDT against the bare forward pass, and its peak memory with one class and with several.

    python benchmarks/ddt.py --photos=FOLDER_OF_CLASS_FOLDERS --classes=4 --per_class=16

Prints one table: seconds of the bare VGG16 forward pass at 448 over the photos, of the DDT stage over the same photos,
and their ratio, medians of interleaved repeats in one run; and the stage's peak memory with one class and with all.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags, logging

PHOTOS = flags.DEFINE_string("photos", None, "A folder with a folder of photos for each class.", required=True)
CLASSES = flags.DEFINE_integer("classes", 4, "How many classes to take.")
PER_CLASS = flags.DEFINE_integer("per_class", 16, "How many photos of each.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Of each measurement.")
PEAK_ONLY = flags.DEFINE_bool("peak_only", False, "Print the peak memory of one stage, in MB, and nothing else.")


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import jax
    import numpy as np

    from configs.base import get_config
    from wsol_jax import devices
    from wsol_jax.data.folder import load
    from wsol_jax.pseudo.heat_maps import make_forward, make_reader
    from wsol_jax.stages import pseudo_boxes
    from wsol_jax.stages.context import Context

    logging.set_verbosity(logging.ERROR)
    config = get_config()
    config.data.dir = PHOTOS.value
    config.data.folder.test_fraction = 0.0
    dataset = load(config.data, 0)
    of_class = [[r for r in dataset.splits["train"] if r.label == c][: PER_CLASS.value] for c in range(CLASSES.value)]
    records = [record for some in of_class for record in some]
    dataset = dataset._replace(splits={"train": records})
    mesh = devices.make_mesh()

    def stage() -> None:
        with tempfile.TemporaryDirectory() as folder:
            pseudo_boxes.run(config.pseudo, Context(Path(folder), dataset, 0, mesh, {}))

    if PEAK_ONLY.value:
        stage()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return

    def bare() -> None:
        forward = make_forward(config.pseudo, 0, mesh)
        for chunk in make_reader(dataset.read, records, config.pseudo.size, config.pseudo.batch_size, "forward", mesh)(
            np.arange(len(records))
        ):
            features = forward(chunk.image)
        jax.block_until_ready(features)

    seconds: dict[str, list[float]] = {"forward": [], "stage": []}
    for repeat in range(REPEATS.value + 1):
        for name, run in (("forward", bare), ("stage", stage)):
            start = time.perf_counter()
            run()
            if repeat:  # the first round compiles
                seconds[name].append(time.perf_counter() - start)
    forward, whole = (statistics.median(seconds[name]) for name in ("forward", "stage"))
    ratios = [s / f for f, s in zip(seconds["forward"], seconds["stage"], strict=True)]
    print(f"{len(records)} photos of {CLASSES.value} classes, 448 x 448, {jax.device_count()} {jax.default_backend()}")
    print(f"forward pass   {forward:8.2f} s   {len(records) / forward:6.2f} photos/s")
    print(f"DDT stage      {whole:8.2f} s   {len(records) / whole:6.2f} photos/s")
    print(f"ratio          {statistics.median(ratios):8.3f}     (each repeat: {', '.join(f'{r:.3f}' for r in ratios)})")
    for classes in (1, CLASSES.value):
        print(f"peak memory, {classes} class(es)   {_peak(classes)} MB")


def _peak(classes: int) -> int:
    command = [sys.executable, __file__, f"--photos={PHOTOS.value}", f"--classes={classes}", "--peak_only"]
    return int(subprocess.run([*command, f"--per_class={PER_CLASS.value}"], capture_output=True, check=True).stdout)


if __name__ == "__main__":
    app.run(main)
