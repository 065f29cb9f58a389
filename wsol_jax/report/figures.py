"""The page's figures: curves as SVG, heat maps and areas as pixels over their photo."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

COLORS = {  # the PSOL paper's Fig. 2, and grey for the baselines that ignore the photo
    "truth": "#e5383b",
    "mask": "#e5383b",
    "pseudo": "#2f6fed",
    "objects": "#0fa3b1",
    "localizer": "#18a957",
    "mean_box": "#8b3fd9",
    "center_box": "#8b93a1",
    "maps": "#18a957",
    "region": "#ffffff",
    "fixed": "#f2b705",  # as in the DA-WSOL paper's Fig. 4
    "center_gaussian": "#8b93a1",
    "universum": "#004488",  # Paul Tol's high-contrast scheme: safe for colour-blind readers and in black and white
    "fake": "#ddaa33",
    "real": "#bb5566",
}
NAMES = {
    "localizer": "Localizer",
    "pseudo": "Pseudo boxes",
    "mean_box": "Mean of both",
    "center_box": "Best centred box",
    "maps": "Box at the best threshold",
    "fixed": "Box at the fixed threshold",
    "center_gaussian": "Centre Gaussian",
}
FILLED = ("localizer", "maps")
INK = "#5b6472"
RULE = "#e3e7ed"
VARIABLES = {INK: "var(--soft)", RULE: "var(--rule)"}  # colours that follow the page's, which is light or dark
HEADROOM = 1.05  # of a y axis over its highest possible value, so that lines there are not cut


class Drawing(NamedTuple):
    """A figure in its two formats.

    Attributes:
        name: of its file without the suffix; different for every figure of a page.
        svg: an SVG element, to be put into the page.
        pdf: the content of a PDF file.
    """

    name: str
    svg: str
    pdf: bytes


def iou_histogram(results: Mapping[str, np.ndarray]) -> Drawing:
    """Return a histogram of the IoUs in 20 bins, one outline per source of boxes.

    Args:
        results: source ('localizer', 'pseudo', 'center_box') -> IoUs [n] in [0, 1]; NaNs are left out.
    """
    figure, axes = blank_axes("IoU with the true box", "photos, %")
    edges = np.linspace(0, 1, 21)
    for name, iou in _finite(results).items():
        share = 100 * np.histogram(iou, edges)[0] / len(iou)
        if name in FILLED:
            axes.stairs(share, edges, fill=True, color=COLORS[name], alpha=0.18)
        axes.stairs(share, edges, color=COLORS.get(name, INK), linewidth=1.8, label=NAMES.get(name, name))
    axes.set_ylim(0, HEADROOM * axes.get_ylim()[1])
    _finish_iou_axes(axes)
    return drawing(figure, "iou_histogram")


def recall_curve(results: Mapping[str, np.ndarray]) -> Drawing:
    """Return the share of photos whose box reaches an IoU threshold, over the threshold; at 0.5 it is gt_known_loc.

    Args:
        results: source ('localizer', 'pseudo', 'center_box') -> IoUs [n] in [0, 1]; NaNs are left out.
    """
    figure, axes = blank_axes("IoU threshold", "photos, %")
    thresholds = np.linspace(0, 1, 201)
    for name, iou in _finite(results).items():
        recall = 100 * (1 - np.searchsorted(np.sort(iou), thresholds) / len(iou))
        axes.plot(thresholds, recall, color=COLORS.get(name, INK), linewidth=1.8, label=NAMES.get(name, name))
    axes.set_ylim(0, 100 * HEADROOM)
    _finish_iou_axes(axes)
    return drawing(figure, "recall_curve")


def loss_curve(stage: str, steps: np.ndarray, loss: np.ndarray) -> Drawing:
    """Return the training loss of one stage over its steps.

    Args:
        stage: its name; figures of different stages share no id.
        steps: int [n].
        loss: float [n], at these steps.
    """
    figure, axes = blank_axes("step", "loss")
    axes.plot(steps, loss, color=INK, linewidth=1.4)
    axes.margins(x=0.01)
    with_headroom(axes)
    return drawing(figure, f"loss_{stage}")


def heat_overlay(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a photo with the positive part of its heat map as colours from blue (0) to red (the map's maximum).

    Args:
        photo: uint8 [h, w, 3].
        heat: float [a, b], of the whole photo; upsampled bilinearly.

    Returns:
        uint8 [h, w, 3], half photo and half colours.
    """
    height, width = photo.shape[:2]
    upsampled = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    positive = np.maximum(np.asarray(upsampled), 0)
    colors = matplotlib.colormaps["turbo"](positive / max(positive.max(), np.finfo(np.float32).tiny))[..., :3]
    return (0.5 * photo + 127.5 * colors).round().astype(np.uint8)


def flat_overlay(photo: np.ndarray, areas: np.ndarray, colors: Sequence[str]) -> np.ndarray:
    """Return a photo in grey, which does not tint the colours, with one colour over each of its areas.

    Args:
        photo: uint8 [h, w, 3].
        areas: int [a, b], an index of `colors` for each cell of the whole photo; upsampled to the nearest neighbour.
        colors: hexadecimal, '#rrggbb'.

    Returns:
        uint8 [h, w, 3], half photo and half colours.
    """
    height, width = photo.shape[:2]
    grey = np.asarray(Image.fromarray(photo).convert("L"))[..., None]
    cells = Image.fromarray(areas.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    painted = np.array([to_rgb(color) for color in colors])[np.asarray(cells)]
    return (0.5 * grey + 127.5 * painted).round().astype(np.uint8)


def blank_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return a figure and its one empty plot, in the page's style."""
    figure = Figure(figsize=(5.4, 3.3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.tick_params(colors=INK, length=0, pad=6)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="y", nbins=5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    return figure, axes


def legend_above(axes: Axes, columns: int, handles: Sequence[Line2D] | None = None, reverse: bool = False) -> None:
    """Put the legend above the plot, where it hides no line."""
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": columns, "reverse": reverse}
    axes.legend(handles=handles, frameon=False, labelcolor=INK, fontsize=9, **place)


def with_headroom(axes: Axes) -> None:
    """Put zero at the bottom of the y axis, and space above the highest value, whatever was drawn."""
    highest = max((float(np.nanmax(line.get_ydata())) for line in axes.lines if len(line.get_ydata())), default=0)
    axes.set_ylim(0, HEADROOM * highest if highest > 0 else 1)


def drawing(figure: Figure, name: str) -> Drawing:
    """Return a figure as SVG with text as text, and as PDF with its fonts; different names share no id."""
    svg, pdf = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "pdf.fonttype": 42}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", transparent=True, metadata=metadata)
        figure.savefig(pdf, format="pdf", transparent=True, metadata={"CreationDate": None})
    text = re.sub(r'<g id="[^"]*"', "<g", svg.getvalue())
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    return Drawing(name, text[text.index("<svg") :], pdf.getvalue())


def _finite(results: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    finite = {name: iou[np.isfinite(iou)] for name, iou in results.items()}
    return {name: iou for name, iou in finite.items() if len(iou)}


def _finish_iou_axes(axes: Axes) -> None:
    axes.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6))
    legend_above(axes, 3)
