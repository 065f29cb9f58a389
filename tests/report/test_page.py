"""The page: complete, self-contained, and safe to open whatever the files are called."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from wsol_jax.report.page import Page, Photo, gallery, other_metrics, row_name, table, write_page
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
    "max_box_acc": 66.0,
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
    """Tags with their attributes, and the text that a person sees."""

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
    assert [file.name for file in (tmp_path / "report").iterdir()] == ["index.html"]
    html = (tmp_path / "report" / "index.html").read_text()
    return html, Reader(html)


def test_nothing_comes_from_anywhere_else(tmp_path):
    html, reader = read(tmp_path)
    for _, attributes in reader.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", html)
    assert set(re.findall(r"https?://[^\"'\s]*", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not reader.all("link")
    assert "default-src 'none'" in reader.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]


def test_names_are_text_and_never_markup(tmp_path):
    html, reader = read(tmp_path)
    assert len(reader.all("script")) == 1
    assert not reader.all("img")
    assert "alert(1)</script>" not in html
    for text in (f"birds{EVIL}", f"crow{EVIL}", f"b{EVIL}.jpg", f'"dir": "{EVIL}"'):
        assert text in reader.text
    assert reader.all("svg", **{"aria-label": f"b{EVIL}.jpg"})


def test_every_photo_is_there_best_first(tmp_path):
    _, reader = read(tmp_path)
    names = [a["aria-label"] for a in reader.all("svg", role="img")]
    assert names == [f"b{EVIL}.jpg", "a.jpg", "c.jpg", "d.jpg"]
    assert [a["data-iou"] for a in reader.all("article")] == ["0.9", "0.4", "", ""]
    assert len(reader.all("image", **{"class": "heat"})) == 1
    sizes = []
    for attributes in (a for a in reader.all("image") if "class" not in a):
        data = base64.b64decode(attributes["href"].removeprefix("data:image/jpeg;base64,"))
        sizes.append(Image.open(io.BytesIO(data)).size)
        assert sizes[-1] == (int(attributes["width"]), int(attributes["height"]))
    assert sizes == [(256, 192), (256, 192), (256, 192), (20, 60)]


def test_boxes_are_drawn_where_they_are():
    card = gallery(photos()[:1], CLASSES)[0]
    assert (card.width, card.height) == (256, 192)
    expected = {
        "pseudo": [0, 0, 128, 96],
        "localizer": [64, 96, 128, 96],
        "truth": [25.6, 38.4, 102.4, 115.2],
    }
    assert dict(card.rectangles) == expected


def test_numbers_intervals_and_gaps(tmp_path):
    _, reader = read(tmp_path)
    text = re.sub(r"\s+", " ", reader.text)
    assert "Localizer 81.2 78.0 – 84.0 60.0 – – –" in text
    assert "Pseudo boxes 77.0 – – – –" in text
    assert "Best centred box 55.0 – – – –" in text
    assert "people drew boxes on 3 of them" in text
    assert text.index("Best centred box 55.0") < text.index("More numbers") < text.index("Localizer · PSOL code")
    assert "Pseudo boxes · training photos 79.0" in text
    assert "max_box_acc 66" in text


def test_published_rows_stand_beside_ours(tmp_path):
    rows = [
        Row(
            f"PSOL{EVIL}", f"DDT{EVIL}", f"VGG16{EVIL}", {"gt_known_loc": "84.55"}, {"gt_known_loc": f"misprint{EVIL}"}
        ),
        Row("PSOL, Table 2", "ADL", "", {"top5_loc": "62.30"}, {}),
    ]
    html, reader = read(tmp_path, published=rows)
    text = re.sub(r"\s+", " ", reader.text[reader.text.index("Published") :])
    assert f"Method Backbone GT-known Loc Top-5 Loc From birds{EVIL} 81.25 – this run" in text
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


def test_rows_by_whose_they_are():
    rows = table({f"{name}gt_known_loc": 1.0 for name in ("center_box/", "train/pseudo/", "psol_code/", "pseudo/", "")})
    assert list(rows) == ["", "psol_code", "pseudo", "train/pseudo", "center_box"]
    assert row_name("train/pseudo") == row_name("pseudo/train") == "Pseudo boxes · training photos"
    assert row_name("psol_code") == "Localizer · PSOL code’s protocol"
    assert other_metrics({**METRICS, "pxap": 1.0, "pxap/threshold": 0.2}) == {
        "max_box_acc": 66.0,
        "pxap": 1.0,
        "pxap/threshold": 0.2,
    }


def test_figures_do_not_share_ids(tmp_path):
    html, reader = read(tmp_path)
    assert len(reader.all("figure")) == 4
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {a["xlink:href"][1:] for a in reader.all("use")} | set(re.findall(r"url\(#([^)]*)\)", html))
    assert len(used) >= 4
    assert used <= set(ids)


def test_without_truth_classes_or_losses(tmp_path):
    bare = [photo("b.jpg", None), photo("a.jpg", None)]
    metrics = {"photos": 2.0, "photos_with_boxes": 0.0}
    _, reader = read(tmp_path, photos=bare, metrics=metrics, results={"localizer": np.full(2, np.nan)}, losses={})
    assert [a["aria-label"] for a in reader.all("svg", role="img")] == ["a.jpg", "b.jpg"]
    assert "there are no true boxes" in reader.text
    assert not reader.all("figure")
    assert not reader.all("table")
    assert not reader.all("button")
    read(tmp_path, photos=[], metrics={}, results={}, losses={})


def test_the_same_page_twice(tmp_path):
    first, _ = read(tmp_path)
    second, _ = read(tmp_path)
    assert first == second
