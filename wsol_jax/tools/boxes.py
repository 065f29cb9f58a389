"""Write a box for every photo of a folder, without training and without labels.

    wsol_jax boxes PHOTOS --out=DIR

PHOTOS holds photos, or a folder of photos for each class. The boxes are pseudo boxes of fused DDT, the recipe of
configs/psol_folder.py, each with its confidence, the probability that its IoU with the true box is at least 0.5. DIR
then holds boxes.parquet, boxes.csv, coco.json, label_studio.json, yolo/, index.html, and run/, from which the same
command continues.
"""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.config import default_config
from wsol_jax.data.check import unreadable_photos
from wsol_jax.errors import InputError
from wsol_jax.paths import copy_folder, to_path
from wsol_jax.predictions.predictions import concatenate
from wsol_jax.predictions.table import read_predictions
from wsol_jax.recipes import fuse
from wsol_jax.runs.run import carry_out, held, plan
from wsol_jax.stages.workdir import photos_file, pseudo_boxes_file, report_folder
from wsol_jax.tools.command_line import Parser, exit_code
from wsol_jax.tools.results import list_photos, write_results


def main(arguments: Sequence[str]) -> int:
    """Write the boxes of a command line; return the exit code."""

    def command() -> None:
        parser = Parser(prog="wsol_jax boxes", description=__doc__)
        parser.add_argument("photos", metavar="PHOTOS", type=to_path, help="a folder of photos, or of such folders")
        parser.add_argument("--out", metavar="DIR", type=to_path, required=True, help="the folder of all results")
        parser.add_argument(
            "--group",
            choices=("class", "dataset"),
            default="class",
            help="what photos have in common: the object of their class's folder (default), or all the same object",
        )
        known = parser.parse_args(arguments)
        list_photos(known.photos, known.out)
        if known.photos.is_file():
            raise InputError(f"{known.photos} is a photo; expected a folder, as DDT compares several photos")
        with checks.prefixed("boxes: "):
            draw_boxes(configuration(known.photos, known.group), known.out)

    return exit_code(command)


def configuration(photos: Path, group: str) -> ConfigDict:
    """Return the experiment: fused pseudo boxes of all photos of a folder, and their page.

    No localizer: every photo would be one that it was trained on, where its confidences are too high, see
    `stages.boxes`. configs/psol_folder.py sets photos aside and trains one, which has better boxes.

    Args:
        photos: the folder.
        group: 'class' or 'dataset', see `pseudo.group`.
    """
    config = default_config()
    config.stages = "pseudo_boxes,report"
    config.overwrite = True  # of other photos in the same folder
    config.data.name, config.data.dir, config.data.folder.test_fraction = "folder", str(photos), 0.0
    config.pseudo.group = group
    fuse(config)
    return config


def draw_boxes(config: ConfigDict, out: Path) -> None:
    """Write the pseudo boxes of an experiment on a folder of photos, and their page.

    Args:
        config: as `configuration` returns it.
        out: the folder of all results.

    Raises:
        InputError: as `wsol_jax.run`.
    """
    with held(out / "run"):
        planned = plan(config, out / "run")
        carry_out(planned)
    splits, workdir = planned.dataset.splits, planned.workdir
    tables = [read_predictions(pseudo_boxes_file(workdir, split), splits[split], ("box",)) for split in splits]
    records = [record for of_split in splits.values() for record in of_split]
    unreadable = unreadable_photos(photos_file(workdir), to_path(config.data.dir))
    copy_folder(report_folder(workdir), out)
    write_results(out, records, concatenate(tables), planned.dataset.classes, "pseudo", unreadable)
