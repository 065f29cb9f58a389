"""Whole experiments of configs/, made small enough to run in a test, and photos for them."""

import runpy
from collections.abc import Collection
from pathlib import Path
from xml.sax.saxutils import escape

from ml_collections import ConfigDict
from PIL import Image

from wsol_jax import boxes
from wsol_jax.data import load_dataset
from wsol_jax.data.records import Dataset, Record

CONFIGS = Path(__file__).parent.parent / "configs"
SIZE, CLASSES, TRAIN, TEST, BATCH = 64, 3, 12, 6, 8

NARROW = {
    "vgg_gap": dict(widths=(4, 4, 6, 6, 8), depths=(1, 1, 1, 1, 3)),
    "inception_v3": dict(width=2),
    "vgg16": dict(widths=(4, 4, 6, 6, 8), depths=(1, 1, 1, 1, 3)),
    "resnet50": dict(depths=(1, 1, 1, 1), width=8),
    "resnet50_v1": dict(depths=(1, 1, 1, 1), width=8),
    "efficientnet_lite0": dict(depths=(1, 1, 1, 1, 1, 1, 1), widths=(4, 4, 6, 6, 8, 8, 10), stem=4, top=16),
}


def load(name: str = "base", **changes) -> ConfigDict:
    """`get_config()` of a file of configs/, with keys changed: load('psol_cub', **{'data.dir': D})."""
    config = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"]()
    config.update_from_flattened_dict(changes)
    return config


def tiny(name: str = "base", **changes) -> ConfigDict:
    """The same for narrow networks without weights: two steps of eight photos, a checkpoint after each."""
    config = load(name)
    config.data.scenes.update(classes=CLASSES, train=TRAIN, test=TEST, size=SIZE)
    for part in (config.pseudo, config.pseudo.c2am, config.localizer, config.classifier, config.joint):
        part.update(weights="", size=SIZE, batch_size=BATCH)
        part.arch_kwargs = ConfigDict(
            NARROW[part.arch] | ({"stride": part.arch_kwargs.stride} if "stride" in part.arch_kwargs else {})
        )
    with config.unlocked(), config.ignore_type():
        for view in config.pseudo.views.values():
            view.size = SIZE if view.size == config.pseudo.size else SIZE + 32
    stride = min(16, config.train.arch_kwargs.stride)  # 16 cells, enough for DA-WSOL's samples
    narrow = NARROW[config.train.arch] | dict(stride=stride)
    config.train.update(weights="", size=SIZE, batch_size=BATCH)
    config.train.arch_kwargs = ConfigDict(narrow)
    config.maps.size = config.evaluate.map_size = config.pseudo.c2am.map_size = SIZE
    for part in (config.pseudo.c2am, config.localizer, config.classifier, config.joint, config.train):
        part.update(epochs=2 * BATCH / TRAIN, checkpoint_every=1, log_every=1)
    config.localizer.views = config.pseudo.c2am.views = 1
    config.predict.batch_size = BATCH
    config.evaluate.resamples = 20
    config.report.photos = 3
    config.update_from_flattened_dict(changes)
    return config


def scenes(train: int = TRAIN, test: int = TEST) -> Dataset:
    """Generated scenes, the same as `tiny` has."""
    config = load().data
    config.scenes.update(classes=CLASSES, train=train, test=test, size=SIZE)
    return load_dataset(config, seed=0)


def load_data(name: str, folder: Path) -> Dataset:
    """The dataset that a file of configs/ reads in a folder."""
    return load_dataset(load(name, **{"data.dir": str(folder)}).data, seed=0)


def write_folder(root: Path, train: int = TRAIN, test: int = TRAIN // 4) -> None:
    """Photos as configs/psol_folder.py reads them, CLASS/PHOTO, which draws a fifth of each class for testing."""
    dataset = scenes(train, test)
    for name, record in _numbered(dataset):
        _save(dataset, record, root / dataset.classes[record.label] / f"{name}.jpg")


def write_cub(root: Path) -> None:
    """Photos and text files as configs/psol_cub.py reads them."""
    dataset = scenes()
    tables = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for number, (name, record) in enumerate(_numbered(dataset), start=1):
        path = f"{dataset.classes[record.label]}/{name}.jpg"
        _save(dataset, record, root / "images" / path)
        corner = boxes.xyxy_to_xywh(record.boxes[0] * SIZE)
        tables["images"].append(f"{number} {path}")
        tables["image_class_labels"].append(f"{number} {record.label + 1}")
        tables["train_test_split"].append(f"{number} {int(name.startswith('train'))}")
        tables["bounding_boxes"].append(f"{number} {' '.join(str(float(value)) for value in corner)}")
    for file, lines in tables.items():
        (root / f"{file}.txt").write_text("\n".join(lines))


def write_imagenet(root: Path) -> None:
    """Photos as configs/psol_imagenet.py reads them, and their XML in boxes/."""
    dataset = scenes()
    (root / "boxes").mkdir(parents=True)
    for name, record in _numbered(dataset):
        synset = f"n0000000{record.label}"
        if name.startswith("train"):
            _save(dataset, record, root / "train" / synset / f"{name}.JPEG")
            continue
        _save(dataset, record, root / "val" / f"{name}.JPEG")
        corners = zip(("xmin", "ymin", "xmax", "ymax"), record.boxes[0] * SIZE + 1, strict=True)
        box = "".join(f"<{corner}>{round(value)}</{corner}>" for corner, value in corners)
        (root / "boxes" / f"{name}.xml").write_text(
            f"<annotation><size><width>{SIZE}</width><height>{SIZE}</height></size>"
            f"<object><name>{escape(synset)}</name><bndbox>{box}</bndbox></object></annotation>"
        )


def write_lists(root: Path) -> None:
    """Photos, masks and lists of wsolevaluation as configs/cam_butterflies.py and cam_openimages.py read them."""
    dataset = scenes()
    for folder, split in (("train", "train"), ("val", "test"), ("test", "test")):
        lines = {"image_ids": [], "class_labels": [], "image_sizes": [], "localization_boxes": []}
        lines |= {"localization_masks": []}
        for i, record in enumerate(dataset.splits[split]):
            name = f"{folder}/{i}.jpg"
            _save(dataset, record, root / "images" / name)
            mask = root / "masks" / folder / f"{i}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 * dataset.read_mask(record, SIZE)).save(mask)
            corners = ",".join(str(round(value)) for value in record.boxes[0] * SIZE)
            lines["image_ids"].append(name)
            lines["class_labels"].append(f"{name},{record.label}")
            lines["image_sizes"].append(f"{name},{SIZE},{SIZE}")
            lines["localization_boxes"].append(f"{name},{corners}")
            lines["localization_masks"].append(f"{name},{folder}/{i}.png,")
        (root / "metadata" / folder).mkdir(parents=True)
        for file, rows in (lines | {"localization": lines["localization_masks"]}).items():
            (root / "metadata" / folder / f"{file}.txt").write_text("\n".join(rows))


def _numbered(dataset: Dataset) -> list[tuple[str, Record]]:
    return [(f"{split}_{i}", record) for split, records in dataset.splits.items() for i, record in enumerate(records)]


def _save(dataset: Dataset, record: Record, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(dataset.read(record)).save(path)


def files(workdir: Path) -> set[str]:
    """The files in a workdir, relative to it, but those inside of checkpoints and TensorBoard's."""
    names = {path.relative_to(workdir).as_posix() for path in workdir.rglob("*") if path.is_file()}
    return {name for name in names if "/checkpoints/" not in name and "/tensorboard/" not in name}


PHOTO_FILES = {"pseudo_boxes": "coco.json", "results": "parquet"}


def contract(
    splits: list[str],
    classes: list[str],
    photo_files: bool,
    trained: list[str],
    views: Collection[str] = (),
    truth: bool = True,
) -> set[str]:
    """The `files` of a finished run of PSOL, on photos with true boxes or without."""
    stages = ("pseudo_boxes", *trained, "predict", "evaluate", "report")
    names = {
        "config.json",
        "classes.json",
        "levels.json",
        "metrics.json",
        "curves.json",
        "report/index.html",
        *(f"stages/{stage}.json" for stage in stages),
    }
    names |= {f"report/figures/loss_{stage}.pdf" for stage in trained}
    names |= {f"report/tables/boxes.{kind}" for kind in ("csv", "tex")}
    if truth:
        names |= {f"report/figures/{name}.pdf" for name in ("iou_histogram", "recall_curve")}
        names |= {f"report/tables/failures.{kind}" for kind in ("csv", "tex")}
    names |= {"photos.parquet"} if photo_files else set()
    names |= {"pseudo_boxes/boxes.parquet", "pseudo_boxes/boxes_test.parquet"}
    names |= {"pseudo_boxes/heat_train.npy", "pseudo_boxes/heat_test.npy"}
    for place in [f"pseudo_boxes/ddt/{view}" for view in views] or ["pseudo_boxes/ddt"]:
        names |= {f"{place}/{number:04d}_{name}.npz" for number, name in enumerate(classes)}
    names |= {f"pseudo_boxes/ddt/{view}/heat_test.npy" for view in views}
    names |= {f"{stage}/log.jsonl" for stage in trained}
    names |= {f"{place}/{split}.{kind}" for split in ("train", "test") for place, kind in PHOTO_FILES.items()}
    kinds = ["parquet", "coco.json", *(["logits.npy"] if set(trained) & {"classifier", "joint"} else [])]
    return names | {f"predictions/{s}.{kind}" for s in splits for kind in kinds}
