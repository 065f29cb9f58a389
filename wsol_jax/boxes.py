"""Boxes: their formats, their frames, their overlap.

A box is normalised xyxy in the frame of the original image: left, top, right, bottom, each divided by the image's width
or height. Other formats exist only where a function names them. Every function takes numpy or jax arrays [..., 4] and
returns the same kind.
"""

import jax
import numpy as np

Array = np.ndarray | jax.Array


def _stack(array: Array, *columns: Array) -> Array:
    return array.__array_namespace__().stack(columns, axis=-1)


def xyxy_to_xywh(boxes: Array) -> Array:
    """Return left, top, width, height [..., 4] of left, top, right, bottom [..., 4], in the same unit."""
    x0, y0, x1, y1 = (boxes[..., i] for i in range(4))
    return _stack(boxes, x0, y0, x1 - x0, y1 - y0)


def xywh_to_xyxy(boxes: Array) -> Array:
    """Return left, top, right, bottom [..., 4] of left, top, width, height [..., 4], in the same unit."""
    x, y, w, h = (boxes[..., i] for i in range(4))
    return _stack(boxes, x, y, x + w, y + h)


def scale(boxes: Array, size: Array) -> Array:
    """Return normalised boxes [..., 4] in pixels of images whose width and height are `size` [..., 2].

    >>> scale(np.array([0.1, 0.2, 0.5, 0.9]), np.array([200, 100]))
    array([ 20.,  20., 100.,  90.])
    """
    w, h = size[..., 0], size[..., 1]
    return boxes * _stack(size, w, h, w, h)


def into_window(boxes: Array, window: Array) -> Array:
    """Return boxes [..., 4] of the original frame in the frame of `window` [..., 4], a box of the original frame."""
    x0, y0, x1, y1 = (window[..., i] for i in range(4))
    return (boxes - _stack(window, x0, y0, x0, y0)) / _stack(window, x1 - x0, y1 - y0, x1 - x0, y1 - y0)


def out_of_window(boxes: Array, window: Array) -> Array:
    """Return boxes [..., 4] of the frame of `window` [..., 4] in the original frame: the inverse of `into_window`."""
    x0, y0, x1, y1 = (window[..., i] for i in range(4))
    return boxes * _stack(window, x1 - x0, y1 - y0, x1 - x0, y1 - y0) + _stack(window, x0, y0, x0, y0)


def mirror(boxes: Array, flip: Array) -> Array:
    """Return normalised boxes [..., 4], mirrored left to right where `flip` bool[...] is true."""
    xp = boxes.__array_namespace__()
    x0, y0, x1, y1 = (boxes[..., i] for i in range(4))
    return xp.where(flip[..., None], _stack(boxes, 1 - x1, y0, 1 - x0, y1), boxes)


def clip(boxes: Array, low: float = 0.0, high: float = 1.0) -> Array:
    """Return boxes [..., 4] with every coordinate clipped to [low, high]."""
    return boxes.__array_namespace__().clip(boxes, low, high)


def area(boxes: Array) -> Array:
    """Return the areas [...] of boxes [..., 4]; 0 for an inverted box."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clip(0)
    return sides[..., 0] * sides[..., 1]


def iou(a: Array, b: Array) -> Array:
    """Return the intersection over union [...] of boxes [..., 4], broadcast, half-open (no "+1"); 0 for empty boxes.

    >>> iou(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.5]))
    array(0.5)
    """
    xp = a.__array_namespace__()
    low, high = xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:])
    sides = (high - low).clip(0)
    intersection = sides[..., 0] * sides[..., 1]
    union = area(a) + area(b) - intersection
    return xp.where(union > 0, intersection / xp.where(union > 0, union, 1), 0)
