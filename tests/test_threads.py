"""Threads: as many as the process has cores, results in the order of the items."""

import os
import threading
import time

import numpy as np
import pytest
import tiny
from PIL import Image

from wsol_jax.data import photos, plan
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.data.render import render
from wsol_jax.paths import to_path
from wsol_jax.threads import IN_A_STORE, cores, for_files, in_parts, in_threads


@pytest.fixture
def one_core(monkeypatch):
    """A machine of many cores, of which this process may use one."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)


def test_the_cores_of_a_process_and_not_of_its_machine_are_counted(one_core, monkeypatch):
    assert cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert cores() == 64


def test_work_is_done_by_one_thread_for_each_core(one_core):
    def work(_):
        time.sleep(0.01)  # time for another thread to take the next item
        return threading.get_ident()

    assert len(set(in_threads(work, range(8)))) == 1


def test_photos_are_drawn_by_one_thread_for_each_core(one_core):
    dataset, drawing = tiny.scenes(), set()
    records = dataset.splits["test"]

    def read(record):
        drawing.add(threading.get_ident())
        time.sleep(0.01)
        return dataset.read(record)

    views = plan.evaluation_views(np.arange(8), plan.test_window("resize", 1.0), 8, slice(0, 8))
    assert len(list(render(read, records, views, tiny.SIZE, 8))) == 1
    assert len(drawing) == 1


def test_files_of_a_store_are_read_by_many_threads(one_core, tmp_path, monkeypatch):
    assert for_files(tmp_path) == 1
    root, together = to_path("gs://bucket/photos"), threading.Barrier(8, timeout=20)
    assert for_files(root) == IN_A_STORE

    def blank(*_, **__):
        together.wait()  # for all eight
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr(photos, "load_photo", blank)
    views = plan.evaluation_views(np.arange(8), plan.WHOLE, 8, slice(0, 8))
    records = [Record(f"{i}.jpg", 0, (4, 4), NO_BOXES) for i in range(8)]
    (batch,) = render(PhotoFiles(root), records, views, 4, 8)
    assert batch.index.tolist() == list(range(8))


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_results_are_in_the_order_of_the_items(count):
    expected = [item**2 for item in range(count)]
    assert list(in_threads(lambda item: item**2, range(count), at_once=64)) == expected
    assert list(in_parts(lambda item: item**2, range(count), size=3)) == expected
