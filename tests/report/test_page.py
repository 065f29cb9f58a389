"""The page: complete, self-contained, and safe to open for any names."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pages
from PIL import Image

from wsol_jax.evaluation.failures import PART, RIGHT, TOO_LARGE
from wsol_jax.report import gallery
from wsol_jax.report.cards import Photo, View
from wsol_jax.report.domains import CaptionedFigure
from wsol_jax.report.figures import Drawing
from wsol_jax.report.page import Page, write_page
from wsol_jax.report.published import Row

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
CLASSES = ["wren", f"crow{EVIL}"]
METRICS = {
    "gt_known_loc": 81.25,
    "gt_known_loc/low": 78.0,
    "gt_known_loc/high": 84.0,
    "top1_loc": 60.0,
    "photos": 4.0,
    "photos_with_boxes": 3.0,
    "pseudo/gt_known_loc": 77.0,
    "center_box/gt_known_loc": 55.0,
    "psol_code/gt_known_loc": 81.5,
    "pseudo/train/gt_known_loc": 79.0,
    "wasp_index": 66.0,
}
TRUTH = np.array([[0.1, 0.2, 0.5, 0.8]])


def photo(name: str, iou: float | None, size=(300, 400), **more) -> Photo:
    image = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    return Photo(name, 0, image, TRUTH if iou is not None else np.zeros((0, 4)), iou=iou, **more)


def photos() -> list[Photo]:
    return [
        photo(
            "a.jpg", 0.4, pseudo=np.array([0, 0, 0.5, 0.5]), predicted=np.array([0.25, 0.5, 0.75, 1]), top5=[(0, 0.9)]
        ),
        photo(f"b{EVIL}.jpg", 0.9, top5=[(1, 0.5), (0, 0.4)], heat=np.eye(7)),
        photo("d.jpg", None, size=(60, 20)),
        photo("c.jpg", float("nan")),
    ]


def page(**changes) -> Page:
    whole = Page(
        title=f"birds{EVIL}",
        metrics=METRICS,
        classes=CLASSES,
        photos=(p for p in photos()),
        results={"localizer": np.array([0.4, 0.9, np.nan]), "pseudo": np.array([0.2, 0.3, 0.9])},
        losses={"localizer": (np.arange(5), np.ones(5)), "classifier": (np.arange(5), np.ones(5))},
        config=f'{{"dir": "{EVIL}"}}',
    )
    return whole._replace(**changes)


class Reader(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str, **attributes) -> list[dict]:
        return [a for t, a in self.tags if t == tag and attributes.items() <= a.items()]


def read(tmp_path, **changes) -> tuple[str, Reader]:
    write_page(tmp_path / "report", page(**changes))
    assert {file.name for file in (tmp_path / "report").iterdir()} <= {"index.html", "figures", "tables"}
    html = (tmp_path / "report" / "index.html").read_text()
    return html, Reader(html)


def test_the_page_loads_no_other_file_and_its_links_lead_to_its_own(tmp_path):
    html, reader = read(tmp_path)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith("#") or tag == "a"
    links = [attributes["href"] for attributes in reader.all("a")]
    assert {(tmp_path / "report" / link).exists() for link in links} == {True}
    kept = {path.relative_to(tmp_path / "report").as_posix() for path in (tmp_path / "report").rglob("*.*")}
    assert kept == {*links, "index.html"} and len(links) == 6
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|innerHTML|insertAdjacentHTML", html)
    assert set(re.findall(r"https?://[^\"'\s]*", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not reader.all("link")
    assert "default-src 'none'" in reader.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]


def test_names_are_text_and_never_markup(tmp_path):
    html, reader = read(tmp_path)
    assert [attributes.get("type") for attributes in reader.all("script")] == ["application/json", None]
    assert not reader.all("img")
    assert "alert(1)</script>" not in html and html.count("</script>") == 2
    for text in (f"birds{EVIL}", f'"dir": "{EVIL}"'):
        assert text in reader.text
    data = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    assert data["classes"] == CLASSES and f"b{EVIL}.jpg" in [photo["name"] for photo in data["photos"]]


def test_every_photo_is_there_highest_iou_first(tmp_path):
    html, _ = read(tmp_path)
    assert [photo["name"] for photo in pages.photos(html)] == [f"b{EVIL}.jpg", "a.jpg", "c.jpg", "d.jpg"]
    assert [photo.get("iou") for photo in pages.photos(html)] == [0.9, 0.4, None, None]
    assert ["heat" in tile for tile in pages.tiles(html)] == [True, False, False, False]
    sizes = []
    for photo in pages.photos(html):
        data = base64.b64decode(photo["tiles"][0]["picture"].removeprefix("data:image/jpeg;base64,"))
        sizes.append((*photo["size"], *Image.open(io.BytesIO(data)).size))
    assert sizes == [(256, 192, 384, 288)] * 3 + [(20, 60, 20, 60)]


def test_without_a_truth_the_most_doubtful_photo_is_first(tmp_path):
    scores = [("a.jpg", 0.9), ("b.jpg", 0.2), ("c.jpg", None), ("d.jpg", 0.5)]
    html, reader = read(tmp_path, photos=[photo(name, None, score=score) for name, score in scores])
    assert [entry["name"] for entry in pages.photos(html)] == ["b.jpg", "d.jpg", "a.jpg", "c.jpg"]
    orders = [attributes["value"] for attributes in reader.all("option") if attributes["value"]]
    assert orders == ["doubtful", "surest", "name"]


def test_pictures_of_many_photos_are_files(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "INLINE", 3)
    write_page(tmp_path, page())
    html = (tmp_path / "index.html").read_text()
    assert "data:image" not in html
    addresses = [tile[name] for tile in pages.tiles(html) for name in ("picture", "heat") if name in tile]
    expected = ["000000_0", "000001_0", "000001_0_heat", "000002_0", "000003_0"]
    assert sorted(addresses) == [f"photos/000/{name}.jpg" for name in expected]
    assert {Image.open(tmp_path / address).format for address in addresses} == {"JPEG"}
    assert {path.name for path in (tmp_path / "photos").rglob("*.*")} == {f"{name}.jpg" for name in expected}


def test_numbers_intervals_and_gaps(tmp_path):
    _, reader = read(tmp_path)
    text = re.sub(r"\s+", " ", reader.text)
    assert "Localizer 81.2 78.0 – 84.0 60.0 Pseudo" in text
    assert "Pseudo boxes 77.0 – Best" in text
    assert "Best centred box 55.0 – Percent" in text
    assert "Evaluated on 4 test photos; boxes on the 3 of them that have true boxes." in text
    assert text.index("Best centred box 55.0") < text.index("More metrics") < text.index("Localizer · PSOL code")
    assert "Pseudo boxes · training photos 79.0" in text
    assert "wasp_index 66" in text


def test_published_rows_follow_those_of_this_run(tmp_path):
    rows = [
        Row(
            f"PSOL{EVIL}", f"DDT{EVIL}", f"VGG16{EVIL}", {"gt_known_loc": "84.55"}, {"gt_known_loc": f"misprint{EVIL}"}
        ),
        Row("PSOL, Table 2", "ADL", "", {"top5_loc": "62.30"}, {}),
    ]
    html, reader = read(tmp_path, published=rows)
    text = re.sub(r"\s+", " ", reader.text[reader.text.index("Published") :])
    assert f"Method Backbone GT-known Loc Top-5 Loc Source birds{EVIL} 81.25 – this run" in text
    assert f"DDT{EVIL} VGG16{EVIL} 84.55† – PSOL{EVIL}" in text
    assert "ADL – 62.30 PSOL, Table 2" in text
    assert reader.all("td", title=f"misprint{EVIL}")
    assert "alert(1)</script>" not in html
    assert not reader.all("img")


def test_published_rows_alone_or_none_at_all(tmp_path):
    _, reader = read(tmp_path, published=[Row("a", "b", "c", {"top1_loc": "1.0"}, {})], metrics={})
    assert "this run" not in reader.text
    assert len(reader.all("table")) == 1
    _, reader = read(tmp_path)
    assert "Published" not in reader.text


def test_figures_do_not_share_ids(tmp_path):
    html, reader = read(tmp_path)
    assert len(reader.all("figure")) == 4
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {a["xlink:href"][1:] for a in reader.all("use")} | set(re.findall(r"url\(#([^)]*)\)", html))
    assert len(used) >= 4
    assert used <= set(ids)


def test_without_truth_classes_or_losses(tmp_path):
    bare = [photo("b.jpg", None)]
    metrics = {"photos": 2.0, "photos_with_boxes": 0.0}
    html, reader = read(tmp_path, photos=bare, metrics=metrics, results={"localizer": np.full(2, np.nan)}, losses={})
    assert [entry["name"] for entry in pages.photos(html)] == ["b.jpg"]
    assert "without true boxes" in reader.text
    assert not reader.all("figure")
    assert not reader.all("table")
    assert not reader.all("button", **{"aria-pressed": "false"}) and not reader.all("select")
    _, reader = read(tmp_path, metrics={"photos": 2.0, "photos_with_boxes": 0.0, "top1_cls": 50.0})
    assert "–" not in reader.text[: reader.text.index("Curves")] and "GT-known" not in reader.text
    read(tmp_path, photos=[], metrics={}, results={}, losses={})


MAP_METRICS = {
    "max_box_acc": 66.0,
    "max_box_acc/threshold": 0.25,
    "val_threshold/max_box_acc": 64.5,
    "center_gaussian/max_box_acc": 40.0,
    "exact/max_box_acc": 66.5,
    "top1_cls": 71.0,
    "gt_known_loc": 44.0,
}


def view(method: str, **more) -> View:
    return View(method, np.eye(8), **more)


def map_page(tmp_path, **changes) -> tuple[str, Reader]:
    """A page of two photos with the maps of two methods."""
    box, mask = np.array([0.0, 0.0, 0.5, 0.5]), np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    views = [view("CAM", box=box, fixed=box, iou=0.6, kind=RIGHT), view(EVIL, box=box, iou=0.2, kind=PART)]
    regions = [view("CAM", region=mask == 1, iou=0.1, kind=TOO_LARGE), view(EVIL)]
    keys = {
        "metrics": MAP_METRICS,
        "photos": [
            photo("a.jpg", 0.6, kind=RIGHT, views=views),
            photo("b.jpg", None, kind=TOO_LARGE, mask=mask, views=regions),
        ],
        "results": {"maps": np.array([0.6, 0.1])},
        "boxes_of": "fixed",
        "maps_of": "CAM",
        "compared": {EVIL: {"max_box_acc": 50.0}},
        "curves": {"CAM": {"precision": [[0, 100], [90, 20]]}, EVIL: {"precision": [[0, 100], [80, 20]]}},
        "failures": {"maps": {RIGHT: 1, TOO_LARGE: 1}, EVIL: {PART: 3}},
    }
    return read(tmp_path, **(keys | changes))


def test_maps_of_several_methods_side_by_side(tmp_path):
    html, reader = map_page(tmp_path)
    assert [tile.get("title", "") for tile in pages.tiles(html)] == ["", "CAM", EVIL, "", "CAM", EVIL]
    # the mask: on the photo, and with the region
    for shape, count in {"truth": 3, "maps": 2, "fixed": 1, "mask": 2, "region": 1}.items():
        assert pages.shapes(html, shape) == count
    measured = [(tile.get("iou"), tile.get("kind")) for tile in pages.tiles(html)[:3]]
    assert measured == [(None, None), (0.6, "right"), (0.2, "a part only")]
    assert "Score map, from 0 to 1" in reader.text
    assert len(reader.all("script")) == 2 and not reader.all("img") and "alert(1)</script>" not in html


def test_the_table_of_maps(tmp_path):
    _, reader = map_page(tmp_path)
    text = re.sub(r"\s+", " ", reader.text[reader.text.index("Metrics") :])
    assert f"MaxBoxAcc Top-1 Cls CAM 66.0 at 0.250 71.0 {EVIL} 50.0 – CAM · validated threshold 64.5 −1.5 –" in text
    assert (
        text.index("Centre Gaussian 40.0")
        < text.index("More metrics of score maps")
        < text.index("CAM · exact boxes 66.5")
    )
    assert "Box at the fixed threshold 44.0" in text
    _, reader = read(tmp_path)
    assert "MaxBoxAcc" not in reader.text


def test_kinds_of_failure_are_counted_and_can_be_chosen(tmp_path):
    html, reader = map_page(tmp_path)
    text = re.sub(r"\s+", " ", reader.text[reader.text.index("Error analysis") :])
    assert f"Box at the best threshold 1 – – 1 – – {EVIL} – – 3 – – –" in text
    assert [photo["kind"] for photo in pages.photos(html)] == ["right", "too large"]
    assert [a["data-kind"] for a in reader.all("button", **{"class": "kind"})] == ["right", "too large"]
    assert reader.all("i", title="too large 50.0 %")
    _, reader = read(tmp_path)
    assert "Error analysis" not in reader.text and not reader.all("button", **{"class": "kind"})


def test_domain_adaptation_is_explained(tmp_path):
    gap = [CaptionedFigure(f"Gap{EVIL}", Drawing("gap", "<svg><text>epoch</text></svg>", b"%PDF"), f"CAM{EVIL} 1.00.")]
    sets = [view(EVIL, assignment=np.array([[0, 1], [2, 2]], np.int8)), view("CAM")]
    photos = [photo("a.jpg", 0.6, views=sets), photo("b.jpg", 0.5, views=sets)]
    html, reader = map_page(tmp_path, domains=gap, photos=photos)
    assert f"Gap{EVIL}" in reader.text and f"CAM{EVIL} 1.00." in reader.text and "<text>epoch</text>" in html
    titles = [tile.get("title", "") for tile in pages.tiles(html)]
    assert titles[:4] == ["", EVIL, f"{EVIL}, target samples", "CAM"]
    assert [len(reader.all("i", **{"class": name})) for name in ("universum", "fake", "real")] == [1, 1, 1]
    assert len(reader.all("script")) == 2 and not reader.all("img") and "alert(1)</script>" not in html
    html, reader = map_page(tmp_path)
    assert "Domain adaptation" not in html and not reader.all("i", **{"class": "universum"})


def test_the_same_page_twice(tmp_path):
    first, _ = read(tmp_path)
    second, _ = read(tmp_path)
    assert first == second
