"""Groups of runs next to each other: tables of means and of differences, and a figure of both."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsol_jax.evaluation.groups import Summary
from wsol_jax.files import write_atomically
from wsol_jax.report.figures import COLORS, INK, RULE, drawing
from wsol_jax.report.map_figures import METHOD_COLORS
from wsol_jax.report.numbers import COLUMNS, PREFIX_NAMES
from wsol_jax.report.tables import Table, markdown_escaped, to_csv, to_latex, to_markdown

Summaries = Mapping[str, Mapping[str, Summary]]
"""Group -> metric -> its summary; the first group is the one that the others are compared with."""

SHOWN = (
    "max_box_acc_v2",
    "val_threshold/max_box_acc_v2",
    "pseudo_threshold/max_box_acc_v2",
    "max_box_acc",
    "pxap",
    "piou",
    "top1_loc_map",
    "gt_known_loc",
    "pseudo/gt_known_loc",
    "mean_box/gt_known_loc",
    "top1_loc",
    "top5_loc",
    "top1_cls",
)
"""The metrics that tables and figure show by default, as far as a group has them; the CSV has all."""
NUMBERS = ("n", "mean", "deviation", "low", "high", "difference", "difference low", "difference high")
DPI = 200


class Comparison(NamedTuple):
    """The content of the files of a comparison.

    Attributes:
        split: of the photos.
        photos: their number.
        metrics: the names of the metrics of the tables and the figure.
        summaries: of every group.
        notes: lines about the groups.
    """

    split: str
    photos: int
    metrics: Sequence[str]
    summaries: Summaries
    notes: Sequence[str]


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write comparison.md, .csv, .pdf and .png, and means.tex and, for several groups, differences.tex.

    Args:
        folder: created if it does not exist.
        comparison: the content.
    """
    pdf, png = figure(comparison)
    files = {
        "comparison.md": markdown(comparison).encode(),
        "comparison.csv": to_csv(numbers_table(comparison.summaries)).encode(),
        "comparison.pdf": pdf,
        "comparison.png": png,
        "means.tex": to_latex(means_table(comparison)).encode(),
    }
    if len(comparison.summaries) > 1:
        files["differences.tex"] = to_latex(differences_table(comparison)).encode()
    for name, content in files.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))


def markdown(comparison: Comparison) -> str:
    """Return both tables and the notes as Markdown."""
    head = (
        f"Percent of {comparison.photos} {comparison.split} photos: mean ± standard deviation over the n runs of a "
        "group, which differ in their seed alone unless a note names more; in brackets, the 95 % bootstrap interval of "
        "the mean over photos.\n"
    )
    parts = [head, to_markdown(means_table(comparison))]
    if len(comparison.summaries) > 1:
        first = markdown_escaped(next(iter(comparison.summaries)))
        paired = f"Difference of the means to {first}; in brackets, its paired 95 % bootstrap interval over photos.\n"
        parts += [paired, to_markdown(differences_table(comparison))]
    return "\n".join([*parts, "".join(f"- {markdown_escaped(note)}\n" for note in comparison.notes)])


def means_table(comparison: Comparison) -> Table:
    """Return a row for each group: n, and mean ± deviation of each metric with its interval."""
    rows, below = [], []
    for group, summaries in comparison.summaries.items():
        of_row = [summaries.get(metric) for metric in comparison.metrics]
        runs = max((len(each.values) for each in summaries.values()), default=0)
        rows.append([group, runs, *(_mean(each) if each else "" for each in of_row)])
        below.append(["", "", *(_ends(each.interval, "") if each else "" for each in of_row)])
    return Table("means", ["", "n", *map(metric_name, comparison.metrics)], rows, below)


def differences_table(comparison: Comparison) -> Table:
    """Return a row for each group but the first: the difference to it in each metric, with its interval."""
    rows, below = [], []
    for group, summaries in list(comparison.summaries.items())[1:]:
        of_row = [_compared(summaries, metric) for metric in comparison.metrics]
        rows.append([group, *(_signed(each.difference) if each else "" for each in of_row)])
        below.append(["", *(_ends(each.difference_interval, "+") if each else "" for each in of_row)])
    return Table("differences", ["", *map(metric_name, comparison.metrics)], rows, below)


def numbers_table(summaries: Summaries) -> Table:
    """Return every number of every group, a row for each metric, unrounded; a number that is not there is empty."""
    rows = []
    for group, of_group in summaries.items():
        for metric, each in of_group.items():
            ends = *each.interval, each.difference, *each.difference_interval
            numbers = [len(each.values), each.mean, each.deviation, *ends]
            rows.append([group, metric, *("" if math.isnan(number) else number for number in numbers)])
    return Table("comparison", ["group", "metric", *NUMBERS], rows)


def figure(comparison: Comparison) -> tuple[bytes, bytes]:
    """Return the means of every group with their intervals and runs, and the differences, as PDF and PNG."""
    groups, metrics = list(comparison.summaries), comparison.metrics
    panels = 1 + (len(groups) > 1)
    height = 0.9 + len(metrics) * (0.25 + 0.17 * len(groups)) + 0.2 * len(groups)
    plot = Figure(figsize=(3.6 + 3 * panels, height), layout="constrained")
    axes = plot.subplots(1, panels, sharey=True, squeeze=False)[0]
    for number, group in enumerate(groups):
        color = METHOD_COLORS[number % len(METHOD_COLORS)]
        for row, metric in enumerate(metrics):
            at = row + 0.7 * ((number + 0.5) / len(groups) - 0.5)
            if each := comparison.summaries[group].get(metric):
                _line(axes[0], at, each.mean, each.interval, color)
                axes[0].plot(each.values, [at] * len(each.values), "|", color=color, markersize=9)
            if number and (each := _compared(comparison.summaries[group], metric)):
                _line(axes[1], at, each.difference, each.difference_interval, color)
    axes[0].set_yticks(range(len(metrics)), [metric_name(metric) for metric in metrics])
    axes[0].set_ylim(len(metrics) - 0.5, -0.5)
    for axis, label in zip(axes, ("percent", f"difference to {_plain(groups[0])}"), strict=False):
        _style(axis, label)
    if panels > 1:
        axes[1].axvline(0, color=COLORS["center_box"], linewidth=1)
    handles = [
        axes[0].plot([], [], "o-", color=METHOD_COLORS[i % len(METHOD_COLORS)], label=_plain(group))[0]
        for i, group in enumerate(groups)
    ]
    plot.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, labelcolor=INK, fontsize=9)
    png = io.BytesIO()
    plot.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return drawing(plot, "comparison").pdf, png.getvalue()


def metric_name(metric: str) -> str:
    """Return the title of a metric.

    >>> metric_name("pseudo/gt_known_loc")
    'GT-known Loc, pseudo boxes'
    """
    *prefixes, name = metric.split("/")
    title = COLUMNS[name][0] if name in COLUMNS else name
    return ", ".join([title, *(PREFIX_NAMES.get(prefix, prefix).lower() for prefix in prefixes)])


def _compared(summaries: Mapping[str, Summary], metric: str) -> Summary | None:
    """The summary of a metric, if it has a difference."""
    each = summaries.get(metric)
    return None if each is None or math.isnan(each.difference) else each


def _mean(each: Summary) -> str:
    return f"{each.mean:.1f}" + ("" if math.isnan(each.deviation) else f" ± {each.deviation:.1f}")


def _signed(number: float) -> str:
    return f"{number:+.1f}".replace("-", "−")


def _ends(interval: tuple[float, float], sign: str) -> str:
    return " – ".join(f"{end:{sign}.1f}".replace("-", "−") for end in interval)


def _line(axes: Axes, at: float, value: float, interval: tuple[float, float], color: str) -> None:
    axes.plot(interval, [at, at], color=color, linewidth=1.8)
    axes.plot(value, at, "o", color=color, markersize=5)


def _style(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, color=INK)
    axes.tick_params(colors=INK, length=0, pad=6)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _plain(name: str) -> str:
    """A name that matplotlib does not take for mathematics."""
    return name.replace("$", r"\$")
