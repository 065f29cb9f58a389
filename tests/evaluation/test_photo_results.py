"""Results of single photos: written and read back, their statistic, and the first difference of two."""

import experiments
import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation import maps
from wsol_jax.evaluation.photo_results import first_difference, read, statistic, write

STEP, SIDE = 0.05, 32


@pytest.fixture(scope="module")
def dataset():
    return experiments.scenes()


@pytest.fixture(scope="module")
def results(dataset):
    records = dataset.splits["test"]
    noise = np.random.default_rng(0).uniform(0, 0.6, (len(records), SIDE, SIDE))
    of_photo = [0.4 * dataset.read_mask(record, SIDE) + each for record, each in zip(records, noise, strict=True)]
    top1 = np.array([1, 0, np.nan, 1, 1, 0])
    return maps.measure("maps", dataset, records, of_photo.__getitem__, top1, STEP)


def test_what_is_read_has_the_numbers_of_what_was_written(dataset, results, tmp_path):
    records, hit = dataset.splits["test"], np.array([1, 0, np.nan, 1, 0, 1])
    write(tmp_path / "a" / "test.parquet", records, {"gt_known_loc": hit, "pseudo/gt_known_loc": 1 - hit}, results)
    back, once = read(tmp_path / "a" / "test.parquet"), np.ones((1, len(records)))
    np.testing.assert_array_equal(back.hits["gt_known_loc"], hit)
    values, numbers = statistic(back, STEP)(once), maps.numbers(results, STEP)
    assert {name: values[name].item() for name in numbers if name in values} == pytest.approx(
        {name: numbers[name] for name in values if "gt_known" not in name}, rel=1e-12
    )
    assert values["pseudo/gt_known_loc"].item() == pytest.approx(40) and {"pxap", "max_box_acc_v2"} <= set(values)
    at = statistic(back, STEP, {maps.VALIDATED: {"piou/threshold": numbers["piou/threshold"]}})(once)
    assert at["val_threshold/piou"] == values["piou"]


def test_photos_without_any_result(dataset, tmp_path):
    write(tmp_path / "test.parquet", dataset.splits["test"], {}, None)
    back = read(tmp_path / "test.parquet")
    assert back.of_maps is None and statistic(back, STEP)(np.ones((1, 6))) == {}


def test_the_first_difference_is_named(dataset, tmp_path):
    records = dataset.splits["test"]
    changed = [*records[:3], records[3]._replace(boxes=records[3].boxes / 2), *records[4:]]
    other = [records[0], Record("z.jpg", 0, (9, 9), NO_BOXES), *records[2:]]
    files = {"same": records, "changed": changed, "other": other, "fewer": records[:5]}
    for name, each in files.items():
        write(tmp_path / name, each, {}, None)
    first = read(tmp_path / "same")
    differences = {name: first_difference(first, read(tmp_path / name)) for name in files}
    assert differences == {
        "same": "",
        "changed": f"{records[3].path} has another label, size, true box or mask",
        "other": f"photo 2 is z.jpg, and there {records[1].path}",
        "fewer": "it has 5 photos, and there are 6",
    }


def test_a_damaged_file_is_named(dataset, results, tmp_path):
    write(tmp_path / "a.parquet", dataset.splits["test"], {}, results)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"b.parquet is damaged .* redo the stage evaluate"):
        read(tmp_path / "b.parquet")
