"""Speed of reading large JPEGs whole and at a part of their size, and the difference in pixels and in boxes.

    python benchmarks/decoding.py --photos=FOLDER

FOLDER has photos of one class, of any size; they are enlarged to 24 megapixels. Prints, for each size of a network's
input, photos per second of one core's time (decoding, cropping and resizing) with `data.exact_decode` and without it,
the mean and the largest difference of their pixels in grey levels, and at last the IoUs of DDT's boxes.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

PHOTOS = flags.DEFINE_string("photos", None, "A folder of photos of one class.", required=True)
COUNT = flags.DEFINE_integer("count", 6, "How many of them.")
SIZES = flags.DEFINE_list("sizes", ["224", "448"], "Sides of a network's input, pixels.")
MEGAPIXELS = 24


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import numpy as np

    from wsol_jax import boxes
    from wsol_jax.data.drawing import OVERSAMPLED, cut
    from wsol_jax.data.plan import WHOLE

    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        whole, scaled = (_dataset(Path(folder), is_exact) for is_exact in (True, False))
        records = whole.splits["train"]
        for size in map(int, SIZES.value):
            images, rates = [], []
            for read in (whole.read, scaled.read):
                start = time.process_time()
                least = (OVERSAMPLED * size, OVERSAMPLED * size)
                images.append(np.stack([cut(read.at_least(record, least), WHOLE, size) for record in records]))
                rates.append(len(records) / (time.process_time() - start))
            difference = np.abs(images[0].astype(int) - images[1])
            print(
                f"{size}: {rates[0]:.1f} photos/s whole, {rates[1]:.1f} scaled, {rates[1] / rates[0]:.1f} x; "
                f"difference {difference.mean():.2f} on average, {difference.max()} at most",
                flush=True,
            )
        ious = boxes.iou(*(_boxes(dataset) for dataset in (whole, scaled)))
        print(f"IoU of DDT's boxes: mean {ious.mean():.3f}, lowest {ious.min():.3f}, of {len(ious)} photos")


def _dataset(folder: Path, is_exact: bool):
    """The enlarged photos, which the first call writes to CLASS/."""
    from PIL import Image

    from configs.psol_folder import get_config
    from wsol_jax.data import load_dataset

    (folder / "class").mkdir(exist_ok=True)
    for file in sorted(Path(PHOTOS.value).iterdir())[: COUNT.value]:
        target = folder / "class" / f"{file.stem}.jpg"
        if not target.exists():
            with Image.open(file) as photo:
                factor = (MEGAPIXELS * 1e6 / (photo.width * photo.height)) ** 0.5
                side = (round(photo.width * factor), round(photo.height * factor))
                photo.convert("RGB").resize(side, Image.Resampling.BICUBIC).save(target, quality=92)
    config = get_config().data
    config.dir, config.exact_decode, config.folder.test_fraction = str(folder), is_exact, 0.0
    return load_dataset(config, 0)


def _boxes(dataset):
    """The boxes of DDT by VGG16 at 224 pixels."""
    from configs.quickstart import get_config
    from wsol_jax import devices
    from wsol_jax.predictions.table import read_predictions
    from wsol_jax.stages import pseudo_boxes
    from wsol_jax.stages.context import Context
    from wsol_jax.stages.workdir import pseudo_boxes_file

    config = get_config().pseudo
    config.batch_size = COUNT.value
    with tempfile.TemporaryDirectory() as folder:
        pseudo_boxes.run(config, Context(Path(folder), dataset, 0, devices.make_mesh(), {}))
        return read_predictions(pseudo_boxes_file(Path(folder), "train"), dataset.splits["train"], ("box",)).box


if __name__ == "__main__":
    app.run(main)
