"""Every path below a workdir. No other file spells one out."""

from pathlib import Path

from wsol_jax.files import file_name

NETWORK_FOLDERS = {"localizer": "localizer", "classifier": "classifier", "joint": "joint", "train": "model"}
"""Stage that trains a network -> the folder of that network."""

_FOLDERS = NETWORK_FOLDERS | {"c2am": "pseudo_boxes/c2am"}  # trained by the stage `pseudo_boxes`, for its maps alone


def config_file(workdir: Path) -> Path:
    """Return the file of the resolved configuration."""
    return workdir / "config.json"


def classes_file(workdir: Path) -> Path:
    """Return the file of the classes' names, a JSON list in the order of their numbers."""
    return workdir / "classes.json"


def levels_file(workdir: Path) -> Path:
    """Return the file of the levels of black and white of photos with more than 8 bits."""
    return workdir / "levels.json"


def lock_file(workdir: Path) -> Path:
    """Return the file that names the process that runs in the workdir."""
    return workdir / "run.lock"


def photos_file(workdir: Path) -> Path:
    """Return the cache of which photos are readable."""
    return workdir / "photos.parquet"


def identity_file(workdir: Path, stage: str) -> Path:
    """Return the file of a stage's fingerprint."""
    return workdir / "stages" / f"{stage}.json"


def pseudo_folder(workdir: Path) -> Path:
    """Return the folder of the pseudo boxes."""
    return workdir / "pseudo_boxes"


def pseudo_boxes_file(workdir: Path, split: str) -> Path:
    """Return the table of a split's pseudo boxes."""
    return pseudo_folder(workdir) / ("boxes.parquet" if split == "train" else f"boxes_{split}.parquet")


def pseudo_coco_file(workdir: Path, split: str) -> Path:
    """Return the COCO JSON of a split's pseudo boxes."""
    return pseudo_folder(workdir) / f"{split}.coco.json"


def corrections_file(workdir: Path) -> Path:
    """Return the file of the photos whose pseudo boxes people corrected, and of those that are left out."""
    return pseudo_folder(workdir) / "corrections.json"


def boxes_folder(workdir: Path) -> Path:
    """Return the folder of the delivered boxes of all photos."""
    return workdir / "boxes"


def objects_file(workdir: Path, source: str, split: str) -> Path:
    """Return the table of the objects of a split in the maps of a source, 'pseudo' or 'maps'."""
    return workdir / "objects" / f"{source}_{split}.parquet"


def heat_file(workdir: Path, split: str) -> Path:
    """Return the heat maps behind a split's pseudo boxes, float16 [n, h, w], in the order of its records."""
    return pseudo_folder(workdir) / f"heat_{split}.npy"


def direction_file(workdir: Path, view: str, group: int, name: str) -> Path:
    """Return the statistics of a view of DDT for group number `group`, called `name`; '' is the only view."""
    return pseudo_folder(workdir) / "ddt" / view / f"{file_name(group, name)}.npz"


def view_heat_file(workdir: Path, view: str, split: str) -> Path:
    """Return the heat maps of one of several views, float32 [n, h, w], in the order of a split's records."""
    return pseudo_folder(workdir) / "ddt" / view / f"heat_{split}.npy"


def foreground_file(workdir: Path, split: str) -> Path:
    """Return C2AM's maps of a split as the network gives them, float32 [n, h, w], in the order of its records."""
    return network_folder(workdir, "c2am") / f"maps_{split}.npy"


def box_folders(workdir: Path) -> tuple[Path, ...]:
    """Return the folders that may hold boxes, those that are delivered first."""
    return boxes_folder(workdir), predictions_folder(workdir), pseudo_folder(workdir)


def network_folder(workdir: Path, stage: str) -> Path:
    """Return the folder of the network of `stage`, or 'c2am': checkpoints/, tensorboard/, log.jsonl."""
    return workdir / _FOLDERS[stage]


def stage_of(network: Path) -> str:
    """Return the stage that trains the network in a folder of this name; the name itself where there is none."""
    return next((stage for stage, name in NETWORK_FOLDERS.items() if name == network.name), network.name)


def checkpoints_folder(workdir: Path, stage: str) -> Path:
    """Return the folder of the checkpoints of the network that `stage` trains."""
    return checkpoints_of(network_folder(workdir, stage))


def checkpoints_of(network: Path) -> Path:
    """Return the folder of the checkpoints of the network in a folder."""
    return network / "checkpoints"


def best_folder(workdir: Path, stage: str) -> Path:
    """Return the folder of the checkpoint of the best epoch, if the training of `stage` selects one."""
    return best_of(network_folder(workdir, stage))


def best_of(network: Path) -> Path:
    """Return the folder of the checkpoint of the best epoch of the network in a folder, if its training selects one."""
    return network / "best"


def features_file(workdir: Path, stage: str) -> Path:
    """Return the kept features that the head of the network of `stage` is trained on."""
    return network_folder(workdir, stage) / "features.npy"


def predictions_folder(workdir: Path) -> Path:
    """Return the folder of the predictions."""
    return workdir / "predictions"


def predictions_file(workdir: Path, split: str) -> Path:
    """Return the table of a split's predicted boxes and classes."""
    return predictions_folder(workdir) / f"{split}.parquet"


def logits_file(table: Path) -> Path:
    """Return the logits behind a table of predictions, float32 [n, k], in the order of its rows."""
    return table.with_suffix(".logits.npy")


def coco_file(table: Path) -> Path:
    """Return the COCO JSON of a table of boxes."""
    return table.with_suffix(".coco.json")


def activations_file(table: Path) -> Path:
    """Return the maps behind a table of predictions as the network gives them, float32 [n, h, w], in its row order."""
    return table.with_suffix(".maps.npy")


def assignments_file(table: Path) -> Path:
    """Return DA-WSOL's set of each pixel behind a table of predictions, int8 [n, h, w]; see `target_samples.SETS`."""
    return table.with_suffix(".assignments.npy")


def score_map_file(workdir: Path, split: str, name: str) -> Path:
    """Return the exported score map of the photo `name`, float32 [size, size] in [0, 1]."""
    return workdir / "maps" / split / f"{name}.npy"


def read_maps_file(workdir: Path) -> Path:
    """Return the file that counts the score maps of another program."""
    return workdir / "maps.json"


def metrics_file(workdir: Path) -> Path:
    """Return the file of the metrics, {name: number}."""
    return workdir / "metrics.json"


def curves_file(workdir: Path) -> Path:
    """Return the file of the metrics at every threshold, {name: [x, y]}."""
    return workdir / "curves.json"


def results_file(workdir: Path, split: str) -> Path:
    """Return the results of every photo of a split, see `evaluation.photo_results`."""
    return workdir / "results" / f"{split}.parquet"


def report_folder(workdir: Path) -> Path:
    """Return the folder of the page."""
    return workdir / "report"


def combine_folder(workdir: Path) -> Path:
    """Return the folder of the table of combinations."""
    return workdir / "combine"
