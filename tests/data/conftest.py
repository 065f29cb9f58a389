"""Tiny datasets on disk, and the data's part of the configuration."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

BASE = Path(__file__).parents[2] / "configs" / "base.py"


@pytest.fixture
def data_config() -> Callable[..., ConfigDict]:
    """A function that returns `config.data` with some keys changed: data_config('lists', dir, {'lists.boxes': ''})."""

    def make(name: str, folder: Path | str = "", changes: dict | None = None) -> ConfigDict:
        config = runpy.run_path(str(BASE))["get_config"]().data
        config.update_from_flattened_dict({"name": name, "dir": str(folder), **(changes or {})})
        return config

    return make


@pytest.fixture
def write_photo() -> Callable[..., Path]:
    """A function that writes a photo of noise: write_photo(path, (w, h))."""

    def write(path: Path, size: tuple[int, int] = (12, 8), **options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write
