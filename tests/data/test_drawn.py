"""Files of drawn boxes: each format is read, and what is malformed is one line that names it."""

import json

import numpy as np
import pytest

from wsol_jax.data.drawn import Drawn, read_drawn
from wsol_jax.errors import InputError

COCO = {
    "images": [
        {"id": 7, "file_name": "a/1.jpg", "width": 200, "height": 100},
        {"id": 9, "file_name": "a/2.jpg", "width": 50, "height": 60},
    ],
    "categories": [{"id": 3, "name": "wren"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40]}],
}
XML = """<annotation><filename>x.jpg</filename><size><width>20</width><height>10</height></size>
<object><name>wren</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>11</xmax><ymax>9</ymax></bndbox></object></annotation>"""


def region(x=10.0, y=20.0, width=30.0, height=40.0, label="wren", rotation=0, **more) -> dict:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value} | more


def task(*results: list[dict], name="a/1.jpg", **more) -> dict:
    return {"id": 1, "data": {"image": name}, "annotations": [{"result": list(result)} | more for result in results]}


def read(tmp_path, content) -> list[Drawn]:
    (tmp_path / "f.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_drawn(tmp_path / "f.json", print)


def test_coco_has_boxes_in_pixels_and_photos_without_any(tmp_path):
    first, second = read(tmp_path, COCO)
    assert first == Drawn("a/1.jpg", ([10, 20, 40, 60],), ("wren",), (200, 100))
    assert second == Drawn("a/2.jpg", (), (), (50, 60))


def test_label_studio_has_boxes_in_percent(tmp_path):
    (photo,) = read(tmp_path, [task([region(), region(label="crow")])])
    assert photo == Drawn("a/1.jpg", [[10, 20, 40, 60]] * 2, ["wren", "crow"], (200, 100), percent=True)


def test_tasks_that_nobody_submitted_are_counted_and_empty_ones_have_no_box(tmp_path, capsys):
    choice = {"type": "choices", "value": {"choices": ["nothing here"]}}
    tasks = [task(), task([region()], was_cancelled=True), task([]), task([choice], name="b")]
    assert [(photo.name, photo.boxes) for photo in read(tmp_path, tasks)] == [("a/1.jpg", []), ("b", [])]
    assert capsys.readouterr().out == f"{tmp_path / 'f.json'}: 2 of 4 tasks are skipped or not submitted\n"


def test_the_last_submitted_annotation_counts(tmp_path):
    old, new = {"result": [region()], "updated_at": "2026-01-02"}, {"result": [], "updated_at": "2026-03-01"}
    for order in ([old, new], [new, old]):
        (photo,) = read(tmp_path, [task() | {"annotations": order}])
        assert photo.boxes == []


def test_a_rotated_rectangle_gives_the_box_around_it(tmp_path):
    (photo,) = read(tmp_path, [task([region(x=50, y=20, width=10, height=20, rotation=90)])])
    # 20 x 20 pixels, turned clockwise around the left upper corner: it then lies left of that corner
    np.testing.assert_allclose(photo.boxes, [[40, 20, 50, 40]], atol=1e-9)


def test_a_folder_of_xml(tmp_path):
    (tmp_path / "wren").mkdir()
    (tmp_path / "wren" / "1.xml").write_text(XML)
    assert read_drawn(tmp_path, print) == [Drawn("wren/1", [[2, 1, 10, 8]], ["wren"], (20, 10))]


def coco(**changes) -> dict:
    return {**COCO, "annotations": [COCO["annotations"][0] | changes]}


WRONG = {
    "{": "not JSON",
    "[]x": "not JSON",
    '{"a": 1}': "neither a COCO file",
    '[{"image": "a.jpg", "label": []}]': "neither a COCO file",
    json.dumps(coco(image_id=8)): "annotation 1 is of image 8, which is not listed",
    json.dumps(coco(category_id=8)): "annotation 1 is of category 8, which is not listed",
    json.dumps(coco(bbox=[1, 2, 3])): "expected four numbers",
    json.dumps(coco(bbox=[1, 2, 3, float("nan")])): "expected four numbers",
    json.dumps(coco(bbox=None)): "malformed entry",
    json.dumps({**COCO, "images": [{"id": 7}]}): "an entry has no 'file_name'",
    json.dumps([task([region(type="polygonlabels")])]): "type 'polygonlabels'; expected rectangles",
    json.dumps([task([{"type": "rectanglelabels"}])]): "an entry has no 'value'",
    json.dumps([{"data": {}, "id": 4, "annotations": [{"result": []}]}]): "task 4 has no address of a photo",
    "[" * 100_000: "not JSON",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=range(len(WRONG)))
def test_what_is_malformed_is_one_line(text, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value) and str(tmp_path / "f.json") in str(error.value)


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match=r"no\.json: no such file; expected a COCO file"):
        read_drawn(tmp_path / "no.json", print)
    with pytest.raises(InputError, match="has no XML file"):
        read_drawn(tmp_path, print)
