"""Photos that vanish or change after they were checked: one error that names the first, and no line of TensorFlow's."""

import shutil
from collections.abc import Callable
from pathlib import Path

import experiments
import numpy as np
import pytest

from wsol_jax.data import plan
from wsol_jax.data.render import render
from wsol_jax.errors import InputError


def into_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "vanished": Path.unlink,
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:200]),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("no photo"),
    "folder": into_folder,
    "link to nothing": lambda file: (file.unlink(), file.symlink_to("nowhere")),
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_happens_while_batches_are_read(how, tmp_path, capfd):
    root = tmp_path / "photos"
    experiments.write_folder(root)
    dataset = experiments.load_data("psol_folder", root)
    records = dataset.splits["train"]
    views = (plan.View(np.int32(i % len(records)), plan.WHOLE, np.bool_(False), np.bool_(True)) for i in range(400))
    batches = render(dataset.read, records, views, 32, 4)
    assert next(batches).image.any()
    for file in root.rglob("*.jpg"):
        CHANGES[how](file)
    with pytest.raises(InputError, match=r"\.jpg: (no such photo|not a readable photo)") as error:
        list(batches)
    assert "\n" not in str(error.value) and "Traceback" not in capfd.readouterr().err
    shutil.rmtree(root)
