import cv2
import numpy as np
import pytest
from PIL import Image

from wsol_jax.data import masks
from wsol_jax.data.records import NO_BOXES, Record, digest
from wsol_jax.errors import InputError

RECORD = Record("a.jpg", 0, (12, 8), NO_BOXES)


@pytest.fixture
def write_mask(tmp_path):
    """A function that writes a mask into the folder of the test: write_mask('m.png', levels)."""

    def write(name, levels):
        Image.fromarray(np.asarray(levels, np.uint8)).save(tmp_path / name)
        return name

    return write


def published(files, ignore, size):
    """`get_mask` of wsolevaluation's evaluation.py, step by step."""

    def load(file):
        levels = np.float32(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
        return cv2.resize(levels, (size, size), interpolation=cv2.INTER_NEAREST) > 0.5

    objects = np.any([load(file) for file in files], axis=0)
    ignored = load(ignore) & ~objects if ignore else np.zeros_like(objects)
    return objects.astype(np.uint8) + 255 * ignored.astype(np.uint8)


@pytest.mark.parametrize("size", [1, 7, 56, 224, 299])
def test_nearest_is_opencvs(size):
    rng = np.random.default_rng(0)
    for h, w in rng.integers(1, 900, (30, 2)):
        mask = rng.random((h, w)) < 0.5
        expected = cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(masks.nearest(mask, size), expected), (h, w)


def test_objects_cover_ignored_pixels(tmp_path, write_mask):
    left = write_mask("left.png", [[255, 0, 0, 0], [255, 0, 0, 0]])
    second = write_mask("second.png", [[0, 1], [0, 0]])  # of half the size, and 0/1 instead of 0/255
    ignore = write_mask("ignore.png", [[255, 255, 0, 0], [0, 0, 0, 255]])
    read = masks.MaskFiles(tmp_path)
    square = read(RECORD._replace(masks=(left, second), ignore=ignore), 4)
    assert square.dtype == np.uint8
    assert square.tolist() == [[1, 255, 1, 1], [1, 255, 1, 1], [1, 0, 0, 255], [1, 0, 0, 255]]
    assert read(RECORD._replace(masks=(left,)), 2).tolist() == [[1, 0], [1, 0]]


def test_files_are_read_as_published(tmp_path, write_mask):
    rng = np.random.default_rng(0)
    files = [
        write_mask("soft.png", rng.integers(0, 6, (61, 90)) * 51),  # CUB's: grey where annotators disagree
        write_mask("rgb.png", np.repeat(rng.integers(0, 2, (40, 53, 1)) * 255, 3, axis=2)),
        write_mask("rgba.png", rng.integers(0, 2, (33, 20, 4)) * 255),
    ]
    Image.fromarray(rng.random((50, 70)) < 0.3).save(tmp_path / "ignore.png")  # 1 bit
    for file in (*files, "ignore.png"):
        got = masks.MaskFiles(tmp_path)(RECORD._replace(masks=(file,), ignore="ignore.png"), 48)
        assert np.array_equal(got, published([tmp_path / file], tmp_path / "ignore.png", 48)), file


def test_an_unreadable_mask_is_named(tmp_path):
    read = masks.MaskFiles(tmp_path)
    with pytest.raises(InputError, match=r"a\.jpg has no mask"):
        read(RECORD, 4)
    (tmp_path / "m.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"m\.png: not a readable photo"):
        read(RECORD._replace(masks=("m.png",)), 4)
    with pytest.raises(InputError, match="expected a relative path"):
        read(RECORD._replace(masks=("../m.png",)), 4)


@pytest.mark.parametrize("shape", [(8, 12), (16, 24), (800, 1205), (4, 6)])
def test_a_mask_may_be_of_another_size(tmp_path, write_mask, shape):
    name = write_mask("m.png", np.zeros(shape))
    sizes = masks.mask_sizes(tmp_path, [name])
    assert sizes == {name: shape[::-1]}
    masks.require_shape(name, sizes[name], RECORD.path, RECORD.size)


@pytest.mark.parametrize("shape", [(12, 8), (8, 13), (1, 1), (800, 1230)])
def test_a_mask_of_another_shape_is_named(shape):
    h, w = shape
    message = rf"other\.png: a mask of {w} x {h} pixels, but its photo a\.jpg is 12 x 8; .* within 2%"
    with pytest.raises(InputError, match=message):
        masks.require_shape("other.png", (w, h), RECORD.path, RECORD.size)


def test_masks_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "text.png").write_text("text")
    sizes = masks.mask_sizes(tmp_path, ["gone.png", "text.png"])
    assert "gone.png: no such mask" in str(sizes["gone.png"])
    assert "text.png: not a readable photo" in str(sizes["text.png"])
    for name in ("../m.png", "/etc/passwd"):
        with pytest.raises(InputError, match="expected a relative path without"):
            masks.mask_sizes(tmp_path, [name])


def test_masks_count_in_a_digest():
    changes = (
        {},
        {"turn": 6},
        {"levels": (0.0, 4095.0)},
        {"masks": ("m.png",)},
        {"masks": ("m.png", "n.png")},
        {"masks": ("m.png",), "ignore": "n.png"},
    )
    assert len({digest([RECORD._replace(**change)]) for change in changes}) == 6


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "count", "objects", "ignored"),
    [
        ("0bt_c3/3a29f0b33894d4a6", 2, 833, 0),
        ("0bt_c3/3b3b9931325d65c9", 1, 347, 35919),
        ("0bt_c3/1cd9ac0169ec7df0", 1, 43031, 0),
        ("0by6g/490365f63135f3e0", 1, 0, 0),
        ("0by6g/b4d953e7105da1d8", 1, 224 * 224, 0),
    ],
)
def test_real_openimages(shared, name, count, objects, ignored):
    root = shared / "data" / "openimages30k_val_metadata" / "masks"
    files = tuple(path.relative_to(root).as_posix() for path in root.glob(f"{name}_m*.png"))
    assert len(files) == count
    record = RECORD._replace(masks=files, ignore=f"{name}_ignore.png")
    square = masks.MaskFiles(root)(record, 224)
    # The first three are those of wsolevaluation's own tests (evaluation_test.py).
    assert ((square == 1).sum(), (square == masks.IGNORED).sum()) == (objects, ignored)
    assert np.array_equal(square, published([root / file for file in files], root / record.ignore, 224))
    assert len(set(masks.mask_sizes(root, [*files, record.ignore]).values())) == 1
