"""The page in headless Chromium: no error in its console, and everything on it can be reached; skipped without it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from wsol_jax.evaluation.failures import KINDS
from wsol_jax.report import gallery
from wsol_jax.report.cards import Photo
from wsol_jax.report.numbers import BOX_COLUMNS
from wsol_jax.report.page import Page, write_page
from wsol_jax.report.published import Row

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>document.title='broken'</script>\"onload=alert(1) x='<img src=x onerror=alert(2)>"
CLASSES = ["wren", EVIL]
COUNT = 130

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

# Each step waits for the page to have drawn; the answers are read from the document when the browser ends.
STEPS = """
const answers = {};
const drawn = () => new Promise((done) => setTimeout(done, 30));
const cards = () => document.querySelectorAll(".card").length;
const input = (id, value) => { find(id).value = value; find(id).dispatchEvent(new Event("input")); };
const key = (key, target) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const first = () => document.querySelector(".card .file").textContent;
const steps = async () => {
  await drawn();
  answers.first = first();
  answers.built = cards();
  answers.width = [document.documentElement.scrollWidth, window.innerWidth];
  input("class", "1");
  answers.ofClass = [cards(), find("count").textContent];
  input("split", "test");
  answers.ofSplit = cards();
  input("class", ""); input("split", "");
  input("order", "surest"); answers.surest = first();
  input("order", "name"); answers.byName = first();
  input("search", "EVEN/0004.j"); answers.searched = [cards(), first()];
  input("search", "nothing has this name"); answers.nothing = cards();
  input("search", ""); input("order", "doubtful");
  for (let i = 0; i < 9 && cards() < photos.length; i++) {
    window.scrollTo(0, document.body.scrollHeight); await drawn(); build();
  }
  answers.all = cards();
  document.querySelectorAll(".card")[3].click();
  answers.large = [large.open, find("place").textContent];
  key("ArrowRight", large); answers.right = find("place").textContent;
  key("End", large); answers.end = find("place").textContent;
  key("ArrowLeft", large); answers.left = find("place").textContent;
  key("h", large); answers.heat = document.body.classList.contains("show-heat");
  large.close(); await drawn();
  answers.closed = [large.open, document.activeElement.dataset.place];
  key("Enter", document.activeElement); answers.enter = large.open;
  const picture = new Image();
  picture.src = photos[0].tiles[0].picture;
  await picture.decode();
  answers.picture = [picture.naturalWidth, picture.naturalHeight];
};
steps().catch((error) => { answers.error = String(error); }).then(() => {
  document.body.append(html("output", { id: "answers" }, JSON.stringify(answers)));
});
"""


def photos():
    image = np.full((30, 40, 3), 99, np.uint8)
    for i in range(COUNT):
        box, name = np.array([0.1, 0.1, 0.6, 0.7]), f"{'odd' if i % 2 else 'even'}/{i:04d}.jpg"
        yield Photo(
            name,
            i % 3 - 1,
            image,
            np.zeros((0, 4)),
            predicted=box,
            top5=[(1, 0.7), (0, 0.3)],
            heat=np.eye(3),
            split="test" if i % 2 else "train",
            score=(i * 37 % COUNT) / COUNT,
            fallback=i == 5,
        )


def page_of(folder: Path, **more) -> Path:
    page = Page(
        f"own {EVIL}", {"photos": 9.0, "photos_with_boxes": 0.0, "top1_cls": 40.0}, CLASSES, photos(), {}, {}, ""
    )
    write_page(folder, page)
    return folder / "index.html"


def open_page(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """The document as it is in the end, and the lines of the console."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--no-first-run", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("inline", [True, False], ids=["inside", "files"])
def test_filters_orders_and_the_large_view(inline, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "INLINE", 500 if inline else 10)
    page = page_of(tmp_path / "report")
    text = page.read_text()
    start = text.rindex("</script>")
    page.write_text(text[:start] + STEPS + text[start:])
    document, console = open_page(page, tmp_path / "profile")
    assert console == []
    found = re.search(r'<output id="answers">(.*?)</output>', document)
    answers = json.loads(found[1])
    of_class = sum(i % 3 == 2 or i % 3 == 0 for i in range(COUNT))  # and those without a class, predicted to be of it
    assert "error" not in answers
    assert answers["first"] == "even/0000.jpg" and answers["surest"] == "odd/0007.jpg"
    assert answers["byName"] == "even/0000.jpg" and answers["searched"] == [1, "even/0004.jpg"]
    assert answers["nothing"] == 0 and 0 < answers["built"] < COUNT and answers["all"] == COUNT
    assert answers["ofClass"] == [min(of_class, 48), f"{of_class} of {COUNT} photos"] and answers["ofSplit"] == 43
    assert answers["large"] == [True, f"4 of {COUNT}"] and answers["right"] == f"5 of {COUNT}"
    assert answers["end"] == f"{COUNT} of {COUNT}" and answers["left"] == f"{COUNT - 1} of {COUNT}"
    assert answers["heat"] and answers["closed"] == [False, str(COUNT - 2)] and answers["enter"]
    assert answers["picture"] == [40, 30]
    assert "<title>broken" not in document and "<img" not in document


def test_nothing_is_cut_on_a_narrow_screen(tmp_path):
    page = page_of(
        tmp_path / "report",
        metrics={name: 50.0 for metric in BOX_COLUMNS for name in (metric, f"{metric}/low", f"{metric}/high")},
        results={"localizer": np.linspace(0, 1, 9), "pseudo": np.linspace(0, 1, 9)},
        failures={"localizer": dict.fromkeys(KINDS, 7)},
        published=[
            Row("PSOL, Table 2", "A long name of a method", "EfficientNet-B7", dict.fromkeys(BOX_COLUMNS, "1.0"), {})
        ],
        config="{" + 300 * "x" + "}",
    )
    frame = page.with_name("frame.html")
    script = """
    const frame = document.querySelector("iframe");
    const widths = () => {
      for (const one of frame.contentDocument.querySelectorAll("details")) one.open = true;
      const root = frame.contentDocument.documentElement;
      const wide = [...root.querySelectorAll("body *:not(option):not(pre)")].filter(
        (one) => one.getBoundingClientRect().right > 400.5);
      document.title = JSON.stringify([root.scrollWidth, wide.map((one) => one.outerHTML.slice(0, 99))]);
    };
    frame.addEventListener("load", () => setTimeout(widths, 200));
    """
    frame.write_text(
        f'<iframe src="index.html" width="400" height="900" style="border: 0"></iframe><script>{script}</script>'
    )
    document, _ = open_page(frame, tmp_path / "profile", "--allow-file-access-from-files")
    assert json.loads(re.search(r"<title>(.*?)</title>", document)[1]) == [385, []]  # 15 are its scroll bar's
