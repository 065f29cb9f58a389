"""The photos of a page, from the data that its script draws them from."""

import json
import re


def photos(html: str) -> list[dict]:
    """The entries of the gallery, in their order."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(data)["photos"]


def tiles(html: str) -> list[dict]:
    """The pictures of all photos."""
    return [tile for photo in photos(html) for tile in photo["tiles"]]


def shapes(html: str, name: str) -> int:
    """The number of boxes and outlines of a name."""
    drawn = [shape for tile in tiles(html) for shape in (*tile.get("rectangles", ()), *tile.get("outlines", ()))]
    return sum(shape == name for shape, _ in drawn)
