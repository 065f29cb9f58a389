import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from wsol_jax.data import headers, photos
from wsol_jax.data.headers import Header
from wsol_jax.errors import InputError

SIZE = (30, 20)


def save(path, orientation=None, xmp=None, size=SIZE, mode="RGB", **options):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
        exif[0x010F] = "maker"
        options["exif"] = exif
    if xmp:
        text = f'<rdf:Description tiff:Orientation="{xmp}"/>'
        options["xmp"] = text.encode()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_and_upright_sizes(tmp_path, suffix, orientation):
    file = save(tmp_path / f"a.{suffix}", orientation)
    header = headers.read_header(file)
    assert header == Header(SIZE, orientation)
    assert header.size == photos.photo_size(file) == photos.read_photo(file).shape[1::-1]
    assert headers.read_header(io.BytesIO(file.read_bytes()), "a") == header


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"mode": "L"},
        {"mode": "CMYK"},
        {"dpi": (72, 72), "comment": b"text"},
        {"icc_profile": bytes(70000)},
        {"orientation": 6, "icc_profile": bytes(70000)},
        {"xmp": 8},
        {"orientation": 3, "xmp": 8},
        {"size": (1, 1)},
    ],
    ids=str,
)
def test_a_quick_header_is_pillows(tmp_path, options):
    file = save(tmp_path / "a.jpg", **options)
    slow = headers.read_header(io.BytesIO(file.read_bytes()), "a")
    assert headers.read_header(file) == slow
    assert slow.size == photos.read_photo(file).shape[1::-1]


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff\x09\x00", b"Exif\0\0", b"Exif\0\0nothing"])
def test_damaged_exif_does_not_hide_the_size(tmp_path, exif):
    file = save(tmp_path / "a.jpg", exif=exif)
    assert headers.read_header(file) == Header(SIZE)


def test_any_damage_gives_a_header_or_an_error(tmp_path):
    content, file = save(tmp_path / "a.jpg", 6).read_bytes(), tmp_path / "b.jpg"
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content[: rng.integers(0, len(content))])
        for place in rng.integers(0, max(len(damaged), 1), 3):
            damaged[place : place + 1] = bytes([rng.integers(256)])
        file.write_bytes(damaged)
        with contextlib.suppress(InputError):
            assert min(headers.read_header(file).size) > 0


def test_depth(tmp_path):
    for name, pixels, depth in (
        ("a.png", np.zeros((4, 5), np.uint16), "integers"),
        ("a.tif", np.zeros((4, 5), np.float32), "floats"),
        ("b.tif", np.zeros((4, 5), np.uint8), ""),
    ):
        Image.fromarray(pixels).save(tmp_path / name)
        assert headers.read_header(tmp_path / name) == Header((5, 4), 1, depth)


def test_many(tmp_path):
    names = [f"{i}.jpg" for i in range(70)]
    for i, name in enumerate(names):
        save(tmp_path / name, size=(10 + i, 7))
    (tmp_path / "3.jpg").write_bytes(b"nothing")
    found = headers.read_headers(tmp_path, [*names, "gone.jpg"], "headers")
    assert [header and header.size for header in found] == [(10 + i, 7) if i != 3 else None for i in range(70)] + [None]
    assert headers.read_headers(tmp_path, [], "headers") == []
    with pytest.raises(InputError, match="expected a relative path"):
        headers.read_headers(tmp_path, ["../a.jpg"], "headers")
