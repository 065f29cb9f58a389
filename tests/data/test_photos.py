import io

import numpy as np
import pytest
from PIL import Image

from wsol_jax.data import photos
from wsol_jax.data.photos import PhotoFiles, read_photo
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), np.uint8)


def smooth(h=32, w=48):
    """A picture that JPEG keeps nearly as it is."""
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([x * 255 / w, y * 255 / h, 255 - x * 255 / w], axis=-1).astype(np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_rgb_is_unchanged_and_one_pixel_is_a_photo(tmp_path):
    assert np.array_equal(photos.read_photo(save(tmp_path / "a.png", Image.fromarray(NOISE))), NOISE)
    dot = save(tmp_path / "dot.png", Image.fromarray(NOISE[:1, :1]))
    assert np.array_equal(photos.read_photo(dot), NOISE[:1, :1])
    assert photos.photo_size(dot) == (1, 1)


def test_grey_and_bilevel_and_palette(tmp_path):
    grey = NOISE[..., 0]
    assert np.array_equal(
        photos.read_photo(save(tmp_path / "l.png", Image.fromarray(grey))), np.stack([grey] * 3, axis=-1)
    )
    bits = save(tmp_path / "1.png", Image.fromarray(grey > 127))
    assert np.array_equal(photos.read_photo(bits)[..., 1], np.where(grey > 127, 255, 0))
    flat = Image.fromarray(np.where(grey[..., None] > 127, (200, 30, 10), (0, 90, 250)).astype(np.uint8))
    palette = save(tmp_path / "p.png", flat.convert("P", palette=Image.Palette.ADAPTIVE))
    assert np.array_equal(photos.read_photo(palette), np.asarray(flat))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_become_white(tmp_path, mode):
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 10:20], alpha[:, 20:] = 128, 255
    image = Image.fromarray(np.full((20, 30, 3), 40, np.uint8)).convert("L" if mode == "LA" else "RGB")
    image.putalpha(Image.fromarray(alpha))
    if mode == "PA":
        # Of a palette's colours, one can be transparent.
        image = Image.fromarray((alpha > 0).astype(np.uint8), "P")
        image.putpalette([7, 7, 7, 40, 40, 40])
        image.info["transparency"] = 0
    pixels = photos.read_photo(save(tmp_path / "a.png", image))
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 20:] == 40).all()
    if mode != "PA":
        assert abs(pixels[:, 10:20].astype(int) - 147).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_spans_the_whole_range(tmp_path, suffix):
    levels = RNG.integers(0, 65536, (20, 30), np.uint16)
    levels[0, :2] = 0, 65535
    pixels = photos.read_photo(save(tmp_path / f"a.{suffix}", Image.fromarray(levels)))
    assert pixels.shape == (20, 30, 3)
    assert abs(pixels - levels[..., None] / 257).max() <= 1
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_16_bit_rgb_agrees_with_tensorflow(tmp_path):
    import tensorflow as tf

    levels = RNG.integers(0, 65536, (20, 30, 3), np.uint16)
    file = tmp_path / "a.png"
    file.write_bytes(tf.io.encode_png(levels).numpy())
    pixels = photos.read_photo(file)
    assert np.array_equal(pixels, tf.io.decode_png(file.read_bytes(), channels=3).numpy())
    assert abs(pixels - levels / 257).max() <= 1


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpeg_agrees_with_tensorflow(tmp_path, adobe):
    import tensorflow as tf

    buffer = io.BytesIO()
    Image.fromarray(smooth()).convert("CMYK").save(buffer, "JPEG", quality=95)
    content = buffer.getvalue()
    if not adobe:
        start = content.index(b"\xff\xee")
        content = content[:start] + content[start + 2 + int.from_bytes(content[start + 2 : start + 4]) :]
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    pixels = photos.read_photo(file).astype(int)
    assert abs(pixels - tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE").numpy()).max() <= 2
    # Without the marker, the same bytes mean the opposite inks.
    assert (abs(pixels - smooth()).max() < 20) == adobe


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(suffix, {})
    file = save(tmp_path / f"a.{suffix}", Image.fromarray(smooth()), exif=exif, **options)
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[::-1],
    }[orientation](smooth())
    pixels = photos.read_photo(file)
    assert abs(pixels.astype(int) - upright).max() < 12
    assert photos.photo_size(file) == (pixels.shape[1], pixels.shape[0])


def test_of_many_pictures_in_a_file_the_first_is_read(tmp_path):
    first, second = Image.fromarray(smooth()), Image.fromarray(255 - smooth())
    for name, options in (("a.mpo", {"quality": 95}), ("a.gif", {})):
        save(tmp_path / name, first, save_all=True, append_images=[second], **options)
        assert abs(photos.read_photo(tmp_path / name).astype(int) - smooth()).mean() < 12


def test_broken_exif_does_not_hide_the_photo(tmp_path):
    file = save(tmp_path / "a.jpg", Image.fromarray(smooth()), exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x09\x00")
    assert photos.read_photo(file).shape == (32, 48, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_photo_is_named(tmp_path, suffix):
    file = save(tmp_path / f"a.{suffix}", Image.fromarray(NOISE))
    file.write_bytes(file.read_bytes()[:-200])
    assert photos.photo_size(file) == (30, 20)
    with pytest.raises(InputError, match=f"a.{suffix}: not a readable photo"):
        photos.read_photo(file)


@pytest.mark.parametrize("content", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_a_file_that_is_no_photo_is_named(tmp_path, content):
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    for read in (photos.read_photo, photos.read_mask, photos.photo_size):
        with pytest.raises(InputError, match=r"a\.jpg: not a readable photo"):
            read(file)
    with pytest.raises(InputError, match=r"b\.jpg: no such photo"):
        photos.read_photo(tmp_path / "b.jpg")


def test_a_photo_too_large_to_be_true_is_an_input_error(tmp_path, monkeypatch):
    file = save(tmp_path / "a.png", Image.fromarray(NOISE))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="bomb"):
        photos.read_photo(file)


def test_mask_is_true_where_it_is_not_black(tmp_path):
    levels = np.array([[0, 1, 127, 255]], np.uint8)
    mask = photos.read_mask(save(tmp_path / "m.png", Image.fromarray(levels)))
    assert mask.dtype == bool
    assert mask.tolist() == [[False, True, True, True]]


def test_names_stay_inside_the_folder(tmp_path):
    assert photos.inside(tmp_path, "c/ä b.jpg") == tmp_path / "c" / "ä b.jpg"
    for name in ("/etc/passwd", "../a.jpg", "c/../../a.jpg", "", ".", "a\0.jpg"):
        with pytest.raises(InputError, match="inside"):
            photos.inside(tmp_path, name)


def test_sizes_of_many(tmp_path, write_photo):
    names = [f"{i}.png" for i in range(5)]
    for i, name in enumerate(names):
        write_photo(tmp_path / name, (10 + i, 7))
    (tmp_path / "3.png").write_bytes(b"nothing")
    sizes = photos.photo_sizes(tmp_path, names, "sizes")
    assert sizes == [(10, 7), (11, 7), (12, 7), (0, 0), (14, 7)]
    with pytest.raises(InputError, match=r"gone\.png: no such photo"):
        photos.photo_sizes(tmp_path, ["gone.png"], "sizes")


@pytest.mark.parametrize(
    ("least", "expected"), [((100, 100), (100, 150)), ((51, 40), (100, 150)), ((50, 75), (50, 75))]
)
def test_a_jpeg_is_decoded_at_the_smallest_size_that_is_enough(tmp_path, least, expected):
    ramp = np.linspace(0, 255, 400 * 600 * 3).reshape(600, 400, 3).astype(np.uint8)
    for name, scaled_size in (("a.jpg", expected), ("a.png", (400, 600))):
        Image.fromarray(ramp).save(tmp_path / name)
        pixels = read_photo(tmp_path / name, least=least)
        assert pixels.shape == (*scaled_size[::-1], 3)
    whole, small = read_photo(tmp_path / "a.jpg"), read_photo(tmp_path / "a.jpg", least=least)
    shrunk = np.asarray(Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(shrunk - small).mean() < 2


def test_a_size_that_is_enough_is_that_of_the_upright_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (600, 400)).save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg", least=(100, 150)).shape == (150, 100, 3)
    assert read_photo(tmp_path / "a.jpg", least=(100, 151)).shape == (300, 200, 3)


def test_files_are_read_whole_unless_scaled_is_enough(tmp_path):
    Image.new("RGB", (160, 80)).save(tmp_path / "a.jpg")
    record = Record("a.jpg", 0, (160, 80), NO_BOXES)
    assert PhotoFiles(tmp_path).at_least(record, (20, 10)).size == (160, 80)
    assert PhotoFiles(tmp_path, is_exact=False).at_least(record, (20, 10)).size == (20, 10)
    assert PhotoFiles(tmp_path, is_exact=False)(record).shape == (80, 160, 3)


@pytest.mark.parametrize("end", [0.3, 0.99])
def test_a_truncated_photo_is_named_at_any_size(tmp_path, end):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: int(end * len(content))])
    with pytest.raises(InputError, match=r"a\.jpg: not a readable photo"):
        read_photo(tmp_path / "a.jpg", least=(1, 1))
