"""PSOL on a dozen real birds, DA-WSOL on two dozen butterflies, with real weights: small, but nothing is made up."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from configs.dawsol_butterflies import get_config as dawsol_butterflies
from configs.psol_birds25_pooled import get_config
from wsol_jax import run
from wsol_jax.data import load_dataset
from wsol_jax.training.log import WATCH, read_log

CLASSES, TRAIN, TEST = (1, 17), 4, 2
ROWS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt")


def few_birds(source: Path, target: Path) -> None:
    """A CUB tree of `TRAIN` training and `TEST` test photos of each of `CLASSES`, whose photos are links."""
    tables = {name: dict(line.split(" ", 1) for line in (source / name).read_text().splitlines()) for name in ROWS}
    labels, training = tables["image_class_labels.txt"], tables["train_test_split.txt"]
    ids = []
    for label in CLASSES:
        of_class = [i for i in labels if labels[i] == str(label)]
        ids += [i for i in of_class if training[i] == "1"][:TRAIN] + [i for i in of_class if training[i] == "0"][:TEST]
    tables["image_class_labels.txt"] = {i: str(1 + CLASSES.index(int(labels[i]))) for i in ids}
    for name, table in tables.items():
        (target / name).write_text("".join(f"{i} {table[i]}\n" for i in ids))
    for i in ids:
        photo = target / "images" / tables["images.txt"][i]
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.symlink_to((source / "images" / tables["images.txt"][i]).resolve())


@pytest.mark.long
@pytest.mark.real
def test_psol_on_a_dozen_birds(shared, tmp_path):
    birds, workdir = tmp_path / "birds", tmp_path / "run"
    birds.mkdir()
    few_birds(shared / "data" / "birds25" / "CUB_200_2011", birds)
    config = get_config()
    config.data.dir = str(birds)
    config.pseudo.update(size=224, layer="relu5_3", batch_size=8)
    for training in (config.localizer, config.classifier):
        training.update(
            weights=str(shared / "weights" / "resnet50_v1_imagenet.safetensors"),
            size=64,
            freeze="layer4",
            batch_size=8,
            epochs=1.0,
            log_every=1,
        )
    config.predict.batch_size = 8
    config.evaluate.resamples = 100

    metrics = run(config, workdir)

    assert metrics["photos"] == len(CLASSES) * TEST
    assert metrics["pseudo/gt_known_loc"] >= 50
    assert metrics["pseudo/train/photos"] == len(CLASSES) * TRAIN
    table = pq.read_table(workdir / "predictions" / "test.parquet").to_pydict()
    sizes = {r.path: r.size for r in load_dataset(config.data, 0).splits["test"]}
    for image, x0, y0, x1, y1 in zip(*(table[name] for name in ("image", "x0", "y0", "x1", "y1")), strict=True):
        assert 0 <= x0 < x1 <= sizes[image][0]
        assert 0 <= y0 < y1 <= sizes[image][1]
    coco = json.loads((workdir / "predictions" / "test.coco.json").read_text())
    assert len(coco["annotations"]) == len(table["image"])
    page = (workdir / "report" / "index.html").read_text()
    for image in table["image"]:
        assert Path(image).name in page


def few_butterflies(source: Path, target: Path) -> None:
    """Lists of a few photos of each of two species, whose photos and masks are those of `source`."""
    for split, count in (("train", 10), ("val", 5)):
        lists = (source / "metadata" / split).iterdir()
        (target / "metadata" / split).mkdir(parents=True)
        ids = (source / "metadata" / split / "image_ids.txt").read_text().splitlines()
        chosen = [i for species in ("001.", "009.") for i in [i for i in ids if i.startswith(species)][:count]]
        for file in lists:
            lines = [line for line in file.read_text().splitlines() if line.split(",")[0] in chosen]
            if file.name == "class_labels.txt":
                lines = [f"{line.split(',')[0]},{int(line.startswith('009.'))}" for line in lines]
            (target / "metadata" / split / file.name).write_text("\n".join(lines))
    for folder in ("images", "masks"):
        (target / folder).symlink_to((source / folder).resolve())


@pytest.mark.long
@pytest.mark.real
def test_dawsol_on_a_few_butterflies(shared, tmp_path):
    """Already the pretrained network's pixels part into background, which is pure, and object, which nearly is."""
    few_butterflies(shared / "data" / "butterflies", tmp_path / "data")
    config = dawsol_butterflies()
    config.data.dir, config.stages = str(tmp_path / "data"), "train,predict,evaluate"
    config.train.update(
        weights=str(shared / "weights" / "resnet50_v1_imagenet.safetensors"),
        size=128,
        batch_size=8,
        epochs=2.0,
        watch=10,
        log_every=1,
    )
    config.train.dawsol.samples = 4
    config.predict.batch_size, config.evaluate.resamples = 16, 100

    metrics = run(config, tmp_path / "run")

    assert metrics["pxap"] > metrics["center_gaussian/pxap"]
    for seen in read_log(tmp_path / "run" / "model", WATCH):
        assert seen["purity_universum"] < seen["foreground"] / 2
        assert seen["purity_real"] > 1.5 * seen["foreground"]
        assert seen["gap_background"] != seen["gap_foreground"]
    last = read_log(tmp_path / "run" / "model")[-1]
    assert last["loss"] != last["classification"] and last["kept"] > 0
