"""Annotations in the XML of PASCAL VOC and ILSVRC, as labelling tools write it too."""

from pathlib import Path
from xml.etree import ElementTree

from wsol_jax.data import annotations
from wsol_jax.errors import InputError


def read_xml(path: Path) -> tuple[tuple[int, int] | None, list[tuple[str, list[float]]]]:
    """Return the size and the objects of an annotation in the XML of PASCAL VOC and ILSVRC.

    Its coordinates count from 1; each is reduced by 1, as in PSOL's code.

    Args:
        path: the file.

    Returns:
        (width, height) of the photo, None where it has none or 0; and (name, [x0, y0, x1, y1] in pixels
        from 0) of each object.

    Raises:
        InputError: the file is missing, is not such XML, or declares a document type (which could expand without end).
    """
    text = "\n".join(line for _, line in annotations.numbered_lines(path))
    if "<!DOCTYPE" in text:
        raise InputError(f"{path}: XML with a document type is not read")
    try:
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path}: not XML ({error})") from error
    sides = [tree.findtext(f"size/{side}", "") or "0" for side in ("width", "height")]
    w, h = (annotations.whole_number(side, f"{path}, size") for side in sides)
    objects = []
    for node in tree.iter("object"):
        corners = [node.findtext(f"bndbox/{corner}", "") for corner in ("xmin", "ymin", "xmax", "ymax")]
        objects.append((node.findtext("name", ""), [value - 1 for value in annotations.numbers(corners, str(path))]))
    return (w, h) if w > 0 and h > 0 else None, objects
