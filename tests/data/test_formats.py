"""Formats that need a package of their own, with it and without."""

import sys

import numpy as np
import pytest
from PIL import Image

from wsol_jax.data import load_dataset, photos
from wsol_jax.data.headers import Header, read_header
from wsol_jax.errors import InputError

HEIC = b"\0\0\0\x18ftypheic" + bytes(200)


@pytest.mark.parametrize(
    ("name", "package"), [("a.heic", "pillow_heif"), ("a.jpg", "pillow_heif"), ("a.dcm", "pydicom")]
)
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(HEIC)
    message = f"{name}: not a readable photo .* by the package {package.replace('_', '-')}; expected it to be installed"
    for read in (photos.read_photo, read_header):
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)


def test_jpeg_by_other_names(tmp_path, data_config):
    (tmp_path / "a").mkdir()
    for name in ("1.jfif", "2.JPG", "3.mpo", "4.jpe", "5.JPEG"):
        Image.new("RGB", (12, 8)).save(tmp_path / "a" / name, format="JPEG")
    config = data_config("folder", tmp_path, {"folder.test_fraction": 0.0})
    records = load_dataset(config, seed=0).splits["train"]
    assert [record.path for record in records] == ["a/1.jfif", "a/2.JPG", "a/3.mpo", "a/4.jpe", "a/5.JPEG"]


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24] = 255, 0, 0
    heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=95)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.heic").read_bytes())
    for name in ("a.heic", "b.jpg"):
        assert read_header(tmp_path / name) == Header((48, 32))
        assert abs(photos.read_photo(tmp_path / name).astype(int) - pixels).mean() < 8
    (tmp_path / "a.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a\.heic: not a readable photo"):
        photos.read_photo(tmp_path / "a.heic")


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom(tmp_path, data_config, interpretation):
    pydicom = pytest.importorskip("pydicom")
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    content = pydicom.Dataset()
    content.file_meta = pydicom.dataset.FileMetaDataset()
    content.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    content.SOPClassUID, content.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    content.Rows = content.Columns = 64
    content.SamplesPerPixel, content.PhotometricInterpretation = 1, interpretation
    content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 16, 12, 11, 0
    content.RescaleSlope, content.RescaleIntercept = 2, -1024
    content.PixelData = stored.tobytes()
    (tmp_path / "a").mkdir()
    content.save_as(tmp_path / "a" / "1.dcm", enforce_file_format=True)
    (record,) = load_dataset(data_config("folder", tmp_path), seed=0).splits["train"]
    assert (record.size, record.levels) == ((64, 64), (-1024, 2 * 4095 - 1024))
    shown = photos.read_photo(tmp_path / record.path, levels=record.levels)[..., 0]
    bright = stored if interpretation == "MONOCHROME2" else 4095 - stored
    assert abs(shown - bright / 4095 * 255).max() <= 1
