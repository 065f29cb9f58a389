"""From views to batches: the pixels of Pillow and the published transforms, in order, for any number of processes."""

import itertools
import threading
import time

import numpy as np
import pytest
import tiny
from PIL import Image

from wsol_jax.data import drawing, load_dataset, plan
from wsol_jax.data import render as rendering
from wsol_jax.data.drawing import cut
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.data.render import Batch, render
from wsol_jax.errors import InputError

SIZE = 24


@pytest.fixture(scope="module")
def scenes():
    return tiny.scenes()


def photo(width: int, height: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def batches(scenes, rows=slice(0, 8), steps=range(6), target=None) -> list[Batch]:
    """The rows `rows` of each batch of eight."""
    records = scenes.splits["train"]
    positions = plan.training_positions(steps.start, steps.stop, 8, rows)
    views = plan.training_views(0, [r.size for r in records], tiny.true_boxes(scenes), "psol", (64, 64), positions)
    return list(render(scenes.read, records, views, SIZE, rows.stop - rows.start, target))


@pytest.mark.parametrize("size", [(335, 468), (297, 70), (64, 64)])
def test_a_whole_photo_is_resized_as_pillow_does(size):
    np.testing.assert_array_equal(cut(photo(*size), plan.WHOLE, 48), resized(photo(*size), 48))


def test_an_image_of_several_pieces_of_memory_is_resized_alike():
    with pytest.raises(ValueError):
        Image.new("RGB", (2100, 2100)).__arrow_c_array__()
    np.testing.assert_array_equal(cut(photo(20, 30), plan.WHOLE, 2100), resized(photo(20, 30), 2100))


@pytest.mark.parametrize("size", [(335, 468), (297, 70), (85, 324), (224, 224), (500, 375)])
def test_the_test_window_is_resize_256_and_centre_crop_224(size):
    published = resized(photo(*size), 256)[16:240, 16:240]
    np.testing.assert_array_equal(cut(photo(*size), plan.test_window("center_crop", 224 / 256), 224), published)


@pytest.mark.parametrize("size", [(335, 468), (297, 70), (500, 375)])
def test_a_crop_is_cut_and_resized(size):
    """Up to the edge: Pillow's filter reaches over it, where a crop that is cut out first repeats its last pixel."""
    crop = plan.random_crop(np.random.default_rng(1), size, np.array([0.0, 0, *size]))
    (left, top), (right, bottom) = crop[:2].astype(int), crop[2:].astype(int)
    image = cut(photo(*size), crop / np.tile(size, 2), 224).astype(int)
    expected = resized(photo(*size)[top:bottom, left:right], 224)
    edge = 1 + max(1, -(-224 // min(right - left, bottom - top)))
    inside = slice(edge, -edge)
    assert np.abs(image - expected)[inside, inside].max() <= 1
    assert np.abs(image - expected).mean() < 0.5


def test_a_mirrored_view_is_the_mirror_of_the_view():
    window = np.array([0.1, 0.2, 0.7, 0.9])
    seen, mirrored = (cut(photo(80, 60), window, 32, flip) for flip in (False, True))
    np.testing.assert_array_equal(mirrored, seen[:, ::-1])
    assert (mirrored != seen).any()


def test_every_row_is_the_planned_one(scenes):
    def target(view):
        return np.asarray(view.index)[..., None] + np.array([0.1, 0.2, 0.3, 0.4])

    records = scenes.splits["train"]
    views = list(
        plan.training_views(0, [r.size for r in records], tiny.true_boxes(scenes), "psol", (64, 64), range(48))
    )
    rows = [Batch(*row) for batch in batches(scenes, target=target) for row in zip(*batch, strict=True)]
    for row, view in zip(rows, views, strict=True):
        record = records[view.index]
        assert (row.index, row.label, row.flip, row.valid) == (view.index, record.label, view.flip, True)
        np.testing.assert_array_equal(row.window, view.window.astype(np.float32))
        np.testing.assert_array_equal(row.target, target(view).astype(np.float32))
        np.testing.assert_array_equal(row.image, cut(scenes.read(record), view.window, SIZE, view.flip))


def test_shapes_and_kinds(scenes):
    batch = batches(scenes, steps=range(1))[0]
    kinds = {name: (array.dtype.name, array.shape) for name, array in batch._asdict().items()}
    assert kinds == {
        "image": ("uint8", (8, SIZE, SIZE, 3)),
        "window": ("float32", (8, 4)),
        "flip": ("bool", (8,)),
        "label": ("int32", (8,)),
        "target": ("float32", (8, 4)),
        "index": ("int32", (8,)),
        "valid": ("bool", (8,)),
    }
    assert not batch.target.any()


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_share_the_same_batches(scenes, processes):
    share = 8 // processes
    parts = [batches(scenes, slice(p * share, (p + 1) * share)) for p in range(processes)]
    for step, whole in enumerate(batches(scenes)):
        joined = [np.concatenate(arrays) for arrays in zip(*(part[step] for part in parts), strict=True)]
        tiny.assert_trees_equal(Batch(*joined), whole)


def test_a_continued_run_sees_the_same_batches(scenes):
    for whole, again in zip(batches(scenes)[4:], batches(scenes, steps=range(4, 6)), strict=True):
        tiny.assert_trees_equal(whole, again)


def test_views_without_end(scenes):
    def forever():
        while True:
            yield View(3, plan.WHOLE, False, True)

    stream = render(scenes.read, scenes.splits["train"], forever(), SIZE, 2)
    assert [next(stream).index.tolist() for _ in range(5)] == [[3, 3]] * 5


def test_an_incomplete_batch_is_left_out_and_padding_is_marked(scenes):
    whole = slice(0, 4)
    unpadded = [View(i, plan.WHOLE, False, True) for i in range(6)]
    padded = plan.evaluation_views(range(6), plan.WHOLE, 4, whole)
    rendered = [list(render(scenes.read, scenes.splits["test"], views, SIZE, 4)) for views in (unpadded, padded)]
    assert [batch.index.tolist() for batch in rendered[0]] == [[0, 1, 2, 3]]
    assert [batch.valid.tolist() for batch in rendered[1]] == [[True] * 4, [True, True, False, False]]


def whole_views(count):
    return [View(i, plan.WHOLE, False, True) for i in range(count)]


def test_a_photo_that_becomes_unreadable_is_one_error_that_names_it(scenes):
    """All batches before it have come."""

    def read(record):
        if record.path == records[5].path:
            raise InputError(f"{record.path}: not a readable photo (truncated)")
        return scenes.read(record)

    records, indices = scenes.splits["train"], []
    with pytest.raises(InputError) as error:
        for batch in render(read, records, whole_views(8), SIZE, 2):
            indices += batch.index.tolist()
    assert str(error.value) == f"{records[5].path}: not a readable photo (truncated)"
    assert indices == [0, 1, 2, 3]
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), r"/b/2\.jpg: no such photo$"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-100]),
            r"/b/2\.jpg: not a readable photo \(.*truncated.*\)$",
        ),
    ],
    ids=["deleted", "truncated"],
)
def test_a_file_that_changes_after_loading_is_named(spoil, message, tmp_path, write_photo, data_config):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        write_photo(tmp_path / name, (40, 30))
    dataset = load_dataset(data_config("folder", tmp_path, {"folder.test_fraction": 0.0}), seed=0)
    spoil(tmp_path / "b" / "2.jpg")
    with pytest.raises(InputError, match=message) as error:
        list(render(dataset.read, dataset.splits["train"], whole_views(4), SIZE, 2))
    assert "\n" not in str(error.value)


def test_an_error_of_another_kind_is_not_hidden(scenes):
    def read(record):
        raise RuntimeError("a mistake in a reader")

    with pytest.raises(RuntimeError, match="a mistake in a reader"):
        next(render(read, scenes.splits["train"], whole_views(2), SIZE, 2))


def test_an_interruption_is_no_error_of_tensorflow(scenes, capfd):
    def read(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(render(read, scenes.splits["train"], whole_views(2), SIZE, 2))
    assert "Traceback" not in capfd.readouterr().err


def test_closing_the_stream_ends_the_plan_while_later_photos_are_read(scenes):
    ended, waited_for, calls, go_on = [], [], itertools.count(), threading.Event()

    def forever():
        try:
            while True:
                yield View(3, plan.WHOLE, False, True)
        finally:
            ended.append(True)

    def read(record):
        if next(calls) >= 20:  # behind the tenth batch
            waited_for.append(not go_on.wait(20))
        return scenes.read(record)

    stream = render(read, scenes.splits["train"], forever(), SIZE, 2)
    for _ in range(10):
        next(stream)
    time.sleep(0.2)  # a dataset that read ahead would run by now
    stream.close()
    go_on.set()
    assert ended and not any(waited_for)


def test_tensorflow_takes_over_the_memory_of_a_batch(scenes, monkeypatch):
    aligned, made = rendering._aligned, []
    monkeypatch.setattr(rendering, "_aligned", lambda shape: made.append(aligned(shape)) or made[-1])
    batch = next(render(scenes.read, scenes.splits["train"], whole_views(3), 9, 3))
    assert np.shares_memory(batch.image, made[0])


@pytest.mark.parametrize(("window", "shape"), [(plan.WHOLE, (100, 150)), (np.array([0.5, 0.5, 1, 1]), (200, 300))])
def test_scaled_photos_keep_twice_the_pixels_that_are_shown(tmp_path, monkeypatch, window, shape):
    coarse = Image.fromarray(photo(60, 40))
    coarse.resize((600, 400), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    records, decoded = [Record("a.jpg", 0, (600, 400), NO_BOXES)], []
    monkeypatch.setattr(drawing, "cut", lambda pixels, *more: decoded.append(np.shape(pixels)) or cut(pixels, *more))
    images = [
        next(render(PhotoFiles(tmp_path, is_exact), records, [View(0, window, False, True)], 48, 1)).image.astype(int)
        for is_exact in (True, False)
    ]
    assert decoded == [(400, 600, 3), (*shape, 3)]
    assert 0 < np.abs(images[0] - images[1]).mean() < 2
