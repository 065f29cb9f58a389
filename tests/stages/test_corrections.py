"""Boxes that people corrected: from our own files through another program and back into training and delivery."""

import json
import math

import absl.logging
import experiments
import numpy as np
import pyarrow.parquet as pq
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.predictions.table import read_predictions
from wsol_jax.runs.run import carry_out, plan
from wsol_jax.stages.context import Context, training_records
from wsol_jax.stages.corrections import corrected_names, with_empty_photos
from wsol_jax.stages.table import STAGES
from wsol_jax.stages.workdir import pseudo_boxes_file

DDT = {"stages": "pseudo_boxes,boxes"}
CORRECTED = [0.25, 0.125, 0.75, 0.5]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of DDT on scenes whose boxes are delivered."""
    workdir = tmp_path_factory.mktemp("corrections") / "first"
    run(experiments.tiny(**DDT), workdir)
    return workdir


def submitted(first, to_box: int, to_nothing: int) -> list[dict]:
    """Our Label Studio file after people have seen some of its tasks: boxes moved, or removed."""
    tasks = json.loads((first / "boxes" / "label_studio.json").read_text())
    for i, task in enumerate(tasks[: to_box + to_nothing]):
        result = json.loads(json.dumps(task["predictions"][0]["result"]))
        x0, y0, x1, y1 = (100 * side for side in CORRECTED)
        result[0]["value"] |= {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
        task["annotations"] = [{"result": result if i < to_box else [], "was_cancelled": False}]
        task["data"]["image"] = f"/data/local-files/?d=some/where/{task['data']['image']}"
    return tasks


def write(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_corrected_boxes_win_and_the_others_stay(first, tmp_path):
    dataset = experiments.scenes()
    source = write(tmp_path / "f.json", submitted(first, to_box=3, to_nothing=2))
    run(experiments.tiny(**DDT, **{"pseudo.source": source}), tmp_path / "w")
    for split, records in dataset.splits.items():
        before, after = (
            read_predictions(pseudo_boxes_file(place, split), records) for place in (first, tmp_path / "w")
        )
        corrected = np.arange(len(records)) < (3 if split == "train" else 0)
        np.testing.assert_allclose(after.box[corrected], np.tile(CORRECTED, (corrected.sum(), 1)), atol=1e-5)
        assert (after.score[corrected] == 1).all() and not after.fallback[corrected].any()
        np.testing.assert_array_equal(after.box[~corrected], before.box[~corrected])
        np.testing.assert_array_equal(after.score[~corrected], before.score[~corrected])
    names = [record.path for record in dataset.splits["train"]]
    assert corrected_names(tmp_path / "w") == (set(names[:3]), set(names[3:5]))
    delivered = pq.read_table(tmp_path / "w" / "boxes" / "boxes.parquet").to_pydict()
    assert delivered["image"] == names[:3] + names[5:] + [record.path for record in dataset.splits["test"]]
    assert delivered["score"][:3] == [1, 1, 1]


@pytest.mark.long
def test_photos_without_an_object_are_not_learned(first, tmp_path, caplog):
    absl.logging.use_python_logging(quiet=True)
    caplog.set_level("INFO")
    source = write(tmp_path / "f.json", submitted(first, to_box=3, to_nothing=2))
    config = experiments.tiny(**{"pseudo.source": source, "stages": "pseudo_boxes,localizer,classifier"})
    planned = plan(config, tmp_path / "w")
    works = {name: STAGES[name].work(config[name], planned.contexts[name]) for name in ("localizer", "classifier")}
    carry_out(planned)
    dataset = experiments.scenes()
    marked = with_empty_photos(dataset, source)
    kept = dataset.splits["train"][:3] + dataset.splits["train"][5:]
    assert [record.path for record in training_records(Context(first, marked, 0, None, {}))] == [r.path for r in kept]
    assert "2 of 12 training photos show no object and train no network" in caplog.text
    assert with_empty_photos(dataset, "ddt") is dataset
    for name, (work,) in works.items():
        steps = [json.loads(line)["step"] for line in (tmp_path / "w" / name / "log.jsonl").open()]
        expected = math.ceil(config[name].epochs * 10 / config[name].batch_size)  # ten of twelve photos
        assert steps[-1] == work.batches == expected


def test_without_any_object_nothing_starts(first, tmp_path):
    tasks = submitted(first, to_box=0, to_nothing=experiments.TRAIN)
    tasks[-1]["annotations"] = [{"result": tasks[-1]["predictions"][0]["result"]}]  # a test photo has a box
    keys = {"pseudo.source": write(tmp_path / "f.json", tasks), "stages": "pseudo_boxes,localizer"}
    with pytest.raises(InputError, match=r"--config\.pseudo: all 12 training photos are marked as without"):
        run(experiments.tiny(**keys), tmp_path / "w")
    assert not (tmp_path / "w" / "pseudo_boxes").exists()


def test_with_every_photo_seen_no_network_is_needed(first, tmp_path):
    coco = json.loads((first / "boxes" / "coco.json").read_text())
    coco["annotations"] = [a | {"bbox": [8, 8, 16, 16]} for a in coco["annotations"] if a["image_id"] != 2]
    source = {"pseudo.source": write(tmp_path / "f.json", coco), "pseudo.weights": "absent.npz"}
    run(experiments.tiny(**{"stages": "pseudo_boxes"}, **source), tmp_path / "w")
    table = pq.read_table(pseudo_boxes_file(tmp_path / "w", "train")).to_pydict()
    assert table["x0"][:3] == [8, 0, 8] and table["fallback"][:3] == [False, True, False]
    assert not (tmp_path / "w" / "pseudo_boxes" / "ddt").exists()


def test_the_largest_of_several_boxes_and_boxes_of_another_class(first, tmp_path):
    coco = json.loads((first / "boxes" / "coco.json").read_text())
    one, two, *others = coco["annotations"]
    other = 1 + two["category_id"] % experiments.CLASSES
    coco["annotations"] = [one | {"bbox": [0, 0, 4, 4]}, one | {"bbox": [8, 8, 16, 16]}, one | {"bbox": [0, 0, 8, 8]}]
    coco["annotations"] += [one | {"bbox": [0, 0, 60, 60], "category_id": 1 + one["category_id"] % experiments.CLASSES}]
    coco["annotations"] += [two | {"bbox": [32, 8, 16, 16], "category_id": other}, *others]
    source = write(tmp_path / "f.json", coco)
    run(experiments.tiny(**{"stages": "pseudo_boxes", "pseudo.source": source}), tmp_path / "w")
    table = pq.read_table(pseudo_boxes_file(tmp_path / "w", "train")).to_pydict()
    assert (table["x0"][:2], table["x1"][:2]) == ([8, 32], [24, 48])


def test_a_file_that_does_not_fit_is_one_line_and_nothing_is_lost(first, tmp_path):
    coco = json.loads((first / "boxes" / "coco.json").read_text())
    wrong = {
        "photos are not in the dataset": coco | {"images": [{"id": 1, "file_name": "x.jpg"}, *coco["images"]]},
        "has a box of class 'hawk'": coco | {"categories": [c | {"name": "hawk"} for c in coco["categories"]]},
        "is empty or outside of the photo": coco | {"annotations": [coco["annotations"][0] | {"bbox": [50, 0, 64, 9]}]},
        "no photo has a box; expected corrected boxes": coco | {"annotations": []},
        "no photo has a box": json.loads((first / "boxes" / "label_studio.json").read_text()),
    }
    before = pseudo_boxes_file(first, "train").read_bytes()
    for message, content in wrong.items():
        source = write(tmp_path / "f.json", content)
        keys = experiments.tiny(**DDT, **{"pseudo.source": source, "overwrite": True})
        with pytest.raises(InputError, match=message) as error:
            run(keys, first)
        assert "\n" not in str(error.value) and str(error.value).startswith("--config.pseudo: ")
    assert pseudo_boxes_file(first, "train").read_bytes() == before


def test_a_correction_makes_the_boxes_stale(first, tmp_path):
    source, tasks = tmp_path / "f.json", submitted(first, to_box=1, to_nothing=0)
    keys = experiments.tiny(**{"stages": "pseudo_boxes", "pseudo.source": write(source, tasks)})
    run(keys, tmp_path / "w")
    write(source, submitted(first, to_box=2, to_nothing=0))
    with pytest.raises(InputError, match=r"its input .*f\.json is not the same"):
        run(keys, tmp_path / "w")


def test_drawn_boxes_are_the_truth_of_own_photos(tmp_path):
    experiments.write_folder(tmp_path / "data")
    keys = {"data.dir": str(tmp_path / "data"), "pseudo.source": "truth", "stages": "pseudo_boxes,evaluate,report"}
    names = sorted(path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.jpg"))
    classes = sorted({name.partition("/")[0] for name in names})
    coco = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
        "annotations": [
            {"image_id": i, "category_id": classes.index(name.partition("/")[0]), "bbox": [12, 12, 40, 40]}
            for i, name in enumerate(names)
        ],
    }
    file = write(tmp_path / "truth.json", coco)
    metrics = run(experiments.tiny("psol_folder", **keys, **{"data.folder.boxes": file}), tmp_path / "w")
    assert metrics["pseudo/gt_known_loc"] == metrics["center_box/gt_known_loc"] == 100
    with pytest.raises(InputError, match=r"gone\.json: no such file"):
        run(experiments.tiny("psol_folder", **keys, **{"data.folder.boxes": "gone.json"}), tmp_path / "v")
