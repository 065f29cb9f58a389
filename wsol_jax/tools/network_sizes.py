"""Print the sizes of all networks and those in the PSOL paper: wsol_jax networks [--markdown]."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from wsol_jax.backbones.counting import CONV6, MAP_SIZE, Counts, count, count_maps, count_psol
from wsol_jax.backbones.network import BACKBONES, build
from wsol_jax.report.published import Number, read_published
from wsol_jax.tools.command_line import Parser, exit_code

CLASSES, CUB_CLASSES = 1000, 200
BACKBONES_OF_THE_PAPER = {  # ours -> theirs
    "vgg16": "VGG16",
    "vgg_gap": "VGG-GAP",
    "inception_v3": "InceptionV3",
    "resnet50": "ResNet50",
    "densenet161": "DenseNet161",
}
CLASSIFIERS_OF_THE_PAPER = {  # the rows of Table 2 that are a classifier and nothing more
    "VGG16": "DDT-VGG16",
    "VGG-GAP": "VGG16-CAM",
    "ResNet50": "ResNet50-CAM",
    "DenseNet161": "DenseNet161-CAM",
}
HEADINGS = ("Network", "Variant", "Input", "Parameters, M", "Paper", "Multiply-adds, G", "Paper")
WIDTHS = (22, 26, 5, 13, 10, 16, 10)
BELOW = f"""
Parameters do not include the averages and variances of batch norm. Multiply-adds are those of convolutions and linear
layers, in evaluation, for one photo; the paper counts convolutions alone, as FLOPs. There are {CLASSES} classes unless
a row has another number. -Sep is the classifier and the localizer together, counted as in the paper: the localizer's
auxiliary head, if it has one, has a layer of classes; as built here it regresses boxes, too. The classifiers for score
maps of 14x14 (stride 16) and 28x28 cells (stride 8) have no number in the papers; VGG has one more convolution there,
of {CONV6} channels. The paper's numbers are those of PSOL's Table 2 (wsol_jax/report/published.csv).
"""

Published = dict[tuple[str, str, str], Number]  # by backbone, method, metric


class Line(NamedTuple):
    """A line of the table.

    Attributes:
        network: a name in `BACKBONES`.
        variant: 'classifier', '-Sep', '-Joint', ...
        size: side of the input, pixels.
        counts: our numbers.
        parameters: the paper's number of parameters, in millions; None if it has none.
        flops: the paper's number of FLOPs, in billions; None if it has none.
    """

    network: str
    variant: str
    size: int
    counts: Counts
    parameters: Number | None = None
    flops: Number | None = None


def psol_lines(arch: str) -> Iterator[Line]:
    """Yield the lines of PSOL's networks of an architecture, for which the paper has numbers."""
    if arch == "vgg_gap":  # the paper counts it with the classes of CUB-200
        yield from _psol_lines(arch, CLASSES, {})
        yield from _psol_lines(arch, CUB_CLASSES, _published())
    else:
        yield from _psol_lines(arch, CLASSES, _published())


def map_lines(arch: str) -> Iterator[Line]:
    """Yield the lines of the classifiers for score maps of an architecture."""
    for stride, counts in count_maps(arch, CLASSES).items():
        yield Line(arch, f"classifier, stride {stride}", MAP_SIZE, counts)


def _published() -> Published:
    return {(n.backbone, n.method, n.metric): n for n in read_published() if n.table == "Table 2"}


def _psol_lines(arch: str, classes: int, published: Published) -> Iterator[Line]:
    theirs, size, suffix = BACKBONES_OF_THE_PAPER.get(arch, ""), BACKBONES[arch].size, ""
    if classes != CLASSES:
        suffix = f", {classes} classes"
    variants = count_psol(arch, classes)
    for variant, counts in variants.items():
        method = CLASSIFIERS_OF_THE_PAPER.get(theirs, "") if variant == "classifier" else f"PSOL-{theirs}{variant}"
        numbers = (published.get((theirs, method, m)) for m in ("parameters_millions", "flops_billions"))
        yield Line(arch, variant + suffix, size, counts, *numbers)
    if BACKBONES[arch].auxiliary:
        built = variants["classifier"] + count(build(arch, "box"), size)
        yield Line(arch, f"-Sep{suffix}, as built here", size, built)


def main(arguments: Sequence[str]) -> int:
    """Print the table of a command line; return the exit code."""

    def command() -> None:
        parser = Parser(prog="wsol_jax networks", description=__doc__.partition(":")[0])
        parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
        print_table(parser.parse_args(arguments).markdown)

    return exit_code(command)


def print_table(markdown: bool) -> None:
    """Print the table line by line, then the explanations and notes.

    Args:
        markdown: as Markdown, not as text.
    """
    notes = []
    print(_text(HEADINGS, markdown))
    print(_text(("-", "-", *["-:"] * 5) if markdown else ["-" * width for width in WIDTHS], markdown))
    for line in chain.from_iterable(chain(psol_lines(arch), map_lines(arch)) for arch in BACKBONES):
        print(_text(_cells(line, notes), markdown), flush=True)
    print(BELOW)
    for i, note in enumerate(notes, start=1):
        print(f"[{i}] {note}" + "  " * markdown)  # two spaces: the next note begins a line


def _cells(line: Line, notes: list[str]) -> list[str]:
    """The cells of a line; the notes on the paper's numbers are appended to `notes`."""
    cells = [line.network, line.variant, str(line.size)]
    ours = line.counts["parameters"] / 1e6, line.counts["multiply_adds"] / 1e9
    for number, published in zip(ours, (line.parameters, line.flops), strict=True):
        cells += [f"{number:.2f}", published.value if published else ""]
        if published and published.note:
            notes.append(f"{line.network} {line.variant}, {published.value}: {published.note}")
            cells[-1] += f" [{len(notes)}]"
    return cells


def _text(cells: Sequence[str], markdown: bool) -> str:
    if markdown:
        return f"| {' | '.join(cells)} |"
    aligned = [cell.ljust(width) for cell, width in zip(cells[:2], WIDTHS[:2], strict=True)]
    aligned += [cell.rjust(width) for cell, width in zip(cells[2:], WIDTHS[2:], strict=True)]
    return "  ".join(aligned).rstrip()
