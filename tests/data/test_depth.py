"""Photos of more than 8 bits: one black and one white for a whole dataset."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import logging
from PIL import Image

from wsol_jax.data import depth, index, load_dataset, photos, ranges
from wsol_jax.data.records import digest
from wsol_jax.errors import InputError

RAMP = np.linspace(0, 1, 64)[None].repeat(8, 0)


@pytest.fixture
def load(tmp_path, data_config, caplog):
    """A function that saves photos of one class and returns their pixels by name: load({name: samples}, levels)."""
    logging.use_python_logging(quiet=True)
    digests = []

    def save_and_read(photos, levels=(0.0, 0.0)):
        (tmp_path / "a").mkdir(exist_ok=True)
        for name, samples in photos.items():
            if samples.ndim == 3:
                import cv2

                cv2.imwrite(str(tmp_path / "a" / name), samples[..., ::-1])
            else:
                Image.fromarray(samples).save(tmp_path / "a" / name)
        config = data_config("folder", tmp_path, {"folder.test_fraction": 0.0, "levels": levels})
        dataset = load_dataset(config, seed=0)
        digests.append(digest(dataset.splits["train"]))
        return {record.path[2:]: dataset.read(record) for record in dataset.splits["train"]}

    save_and_read.digests = digests
    return save_and_read


def level(ramp):
    return np.stack([ramp] * 3, axis=-1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_integers(load, bits, suffix, caplog):
    samples = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    pixels = load({f"a.{suffix}": samples, f"dark.{suffix}": samples // 4})
    assert np.array_equal(pixels[f"a.{suffix}"], level(samples >> (bits - 8)))
    assert np.array_equal(pixels[f"dark.{suffix}"], level((samples // 4) >> (bits - 8)))  # not brighter for itself
    white = 2**bits - 1
    assert (
        f"2 photos have integers of more than 8 bits, from 0 to {white}; black is 0 and white is {white}" in caplog.text
    )
    assert f"--config.data.levels=0,{white}" in caplog.text


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours(load, suffix):
    samples = np.stack([RAMP, RAMP[:, ::-1], RAMP * 0], axis=-1)
    deep = np.round(samples * 4095).astype(np.uint16)
    assert np.array_equal(load({f"a.{suffix}": deep})[f"a.{suffix}"], deep >> 4)


@pytest.mark.parametrize(("scale", "white"), [(1.0, 1.0), (0.5, 1.0), (255.0, 255.0), (4000.0, 4095.0)])
def test_floats(load, scale, white):
    samples = (RAMP * scale).astype(np.float32)
    expected = np.round(samples * (255 / white))
    assert abs(load({"a.tif": samples})["a.tif"] - level(expected)).max() <= 1


def test_negative_and_missing_samples(load):
    samples = (RAMP * 4 - 1).astype(np.float32)
    samples[0, :2] = np.nan, np.inf
    pixels = load({"a.tif": samples})["a.tif"]
    assert pixels[0, :2, 0].tolist() == [0, 255]
    assert (pixels[1, 0, 0], pixels[1, -1, 0]) == (0, 255)


def test_a_key_replaces_what_the_photos_hold(load, caplog):
    samples = np.array([[0, 1000, 2000, 3000, 4000]], np.uint16)
    pixels = load({"a.png": samples}, (1000.0, 3000.0))["a.png"][0, :, 0]
    assert (pixels[0], pixels[1], pixels[3], pixels[4]) == (0, 0, 255, 255) and abs(int(pixels[2]) - 127) <= 1
    assert "more than 8 bits" not in caplog.text


def test_a_dataset_of_usual_photos_is_not_read(load, caplog):
    load({"a.png": np.zeros((4, 5), np.uint8)})
    assert "more than 8 bits" not in caplog.text


def save_pairs(folder, white):
    """Two photos of integers and two of floats; the brightest of each kind has `white` in it."""
    for number in (1, 2):
        Image.fromarray((RAMP * white / number).astype(np.uint16)).save(folder / f"{number}.png")
        Image.fromarray((RAMP * white / number).astype(np.float32)).save(folder / f"{number}.tif")


def test_ranges_are_read_once_and_again_when_a_file_changes(tmp_path, data_config, monkeypatch):
    read, original, folder = [], photos.extremes, tmp_path / "photos" / "a"
    monkeypatch.setattr(photos, "extremes", lambda path: read.append(path.name) or original(path))
    monkeypatch.setattr(index, "SETTLED", 0)
    folder.mkdir(parents=True)
    save_pairs(folder, 4000)

    def load(**changes):
        read.clear()
        keys = {"folder.test_fraction": 0.0, "index": str(tmp_path / "index.parquet")} | changes
        records = load_dataset(data_config("folder", folder.parent, keys), seed=0).splits["train"]
        return depth.levels_of_dataset(records, (0.0, 0.0)), sorted(read), digest(records)

    every = ["1.png", "1.tif", "2.png", "2.tif"]
    levels, names, first = load()
    assert levels == {"integers": (0, 4095), "floats": (0, 4095)} and names == every
    assert load() == (levels, [], first)
    assert load(index="") == (levels, every, first)
    Image.fromarray((RAMP * 1000).astype(np.uint16)).save(folder / "1.png")
    assert load(unchanged=True) == (levels, [], first)
    assert load()[:2] == (levels | {"integers": (0, 2047)}, ["1.png"])
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:-30])  # its header remains
    for _ in range(2):
        assert load()[:2] == (levels | {"integers": (0, 1023)}, ["2.png"])  # there is none to keep


@pytest.mark.parametrize("wrong", [{"low": 5.0, "high": 4.0}, {"high": float("inf")}, {"low": float("nan")}])
def test_a_range_that_cannot_be_is_read_again(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(index, "SETTLED", 0)
    save_pairs(tmp_path, 4000)
    table = tmp_path / "index.ranges.parquet"
    expected = ranges.read_ranges(tmp_path, ["1.png"], table)
    known = pq.read_table(table)
    pq.write_table(pa.Table.from_pylist([known.to_pylist()[0] | wrong], known.schema), table)
    np.testing.assert_array_equal(ranges.read_ranges(tmp_path, ["1.png"], table), expected)


def test_levels_count_in_a_digest(load):
    photos = {"a.png": np.arange(64, dtype=np.uint16).reshape(8, 8) * 60}
    for levels in ((0.0, 0.0), (0.0, 4095.0), (0.0, 2000.0)):
        load(photos, levels)
    assert load.digests[0] == load.digests[1] != load.digests[2]


@pytest.mark.parametrize(
    ("low", "high", "kind", "levels"),
    [
        (0, 0, "integers", (0, 255)),
        (0, 255, "integers", (0, 255)),
        (3, 256, "integers", (0, 511)),
        (0, 65535, "integers", (0, 65535)),
        (-1024, 3071, "integers", (-1024, 3071)),
        (0, 1, "floats", (0, 1)),
        (0, 1.5, "floats", (0, 255)),
    ],
)
def test_levels_of_a_range(low, high, kind, levels):
    assert depth.common_levels(low, high, kind) == levels


@pytest.mark.parametrize("levels", [(0.0,), (0.0, float("nan")), (0.0, "x")])
def test_wrong_levels(data_config, levels):
    from wsol_jax.data import check_keys

    with pytest.raises(InputError, match=r"levels is .*; expected two finite numbers, black and white"):
        check_keys(data_config("folder", "", {"levels": levels}))


@pytest.mark.parametrize("opacity", [65535, 32768, 0])
def test_opacity_is_no_level(load, opacity):
    samples = np.round(RAMP * 4095).astype(np.uint16)
    argb = np.dstack([np.full_like(samples, opacity)] + [samples] * 3)  # reversed as colours are: OpenCV's order
    pixels = load({"a.png": argb})["a.png"][..., 0]
    share = (opacity >> 8) / 255
    assert abs(pixels - ((samples >> 4) * share + 255 * (1 - share))).max() <= 1
