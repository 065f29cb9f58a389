"""Tables as files: CSV for programs, LaTeX for papers, Markdown for notes."""

import csv
import io
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from wsol_jax.files import write_atomically
from wsol_jax.report.numbers import Rows

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "≥": r"$\geq$",
    "’": "'",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    **{character: "\\" + character for character in "&%$#_{}"},
}


class Table(NamedTuple):
    """A table as text.

    Attributes:
        name: of its files without the suffix.
        head: the names of the columns.
        rows: as many cells each; numbers as CSV has them, unrounded.
        below: for each cell its small print, '' for none; () for a table without.
        digits: of a number in LaTeX.
    """

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    below: Sequence[Sequence[str]] = ()
    digits: int = 1


def metrics_table(name: str, columns: dict[str, tuple[str, str]], rows: Rows) -> Table:
    """Return rows of metrics as a table; a cell that a row lacks is empty.

    Args:
        name: of its files.
        columns: metric -> its short name and its meaning.
        rows: a row's name -> metric -> cell.
    """
    cells = [[title, *(row[c].value if c in row else "" for c in columns)] for title, row in rows.items()]
    below = [["", *(row[c].below if c in row else "" for c in columns)] for row in rows.values()]
    return Table(name, ["", *(short for short, _ in columns.values())], cells, below)


def write_tables(folder: Path, tables: Sequence[Table]) -> list[str]:
    """Write NAME.csv and NAME.tex of every table that has rows; return the names of these tables."""
    written = [table for table in tables if table.rows]
    for table in written:
        for suffix, text in (("csv", to_csv(table)), ("tex", to_latex(table))):
            write_atomically(folder / f"{table.name}.{suffix}", lambda file, text=text: file.write(text.encode()))
    return [table.name for table in written]


def to_csv(table: Table) -> str:
    """Return a table as CSV: a column of small print follows each column that has some."""
    noted = {i for row in table.below for i, text in enumerate(row) if text}
    notes = [[f"{title}, note" for title in table.head], *table.below]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, line in enumerate([table.head, *table.rows]):
        cells = ([value, notes[number][i]] if i in noted else [value] for i, value in enumerate(line))
        writer.writerow(chain.from_iterable(cells))
    return text.getvalue()


def to_latex(table: Table) -> str:
    """Return a table as a LaTeX tabular, for the package booktabs, with the small print in brackets."""

    def cell(row: int, column: int) -> str:
        value = table.rows[row][column]
        text = f"{value:.{table.digits}f}" if isinstance(value, float) else escaped(str(value))
        below = table.below[row][column] if table.below else ""
        return f"{text} {{\\footnotesize ({escaped(below)})}}" if below else text

    width = len(table.head)
    lines = [[escaped(title) for title in table.head]]
    lines += [[cell(i, j) for j in range(width)] for i in range(len(table.rows))]
    head, *body = [" & ".join(line) + r" \\" for line in lines]
    begin = rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""])


def to_markdown(table: Table) -> str:
    """Return a table as Markdown, with the small print in brackets."""

    def cell(row: int, column: int) -> str:
        value = table.rows[row][column]
        text = f"{value:.{table.digits}f}" if isinstance(value, float) else markdown_escaped(str(value))
        below = table.below[row][column] if table.below else ""
        return f"{text} ({markdown_escaped(below)})" if below else text

    lines = [[markdown_escaped(title) for title in table.head], ["---", *("---:" for _ in table.head[1:])]]
    lines += [[cell(i, j) for j in range(len(table.head))] for i in range(len(table.rows))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown_escaped(text: str) -> str:
    r"""Return text in one line with the characters escaped that Markdown, or HTML in it, would interpret.

    >>> markdown_escaped("a|b_c")
    'a\\|b\\_c'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))


def escaped(text: str) -> str:
    r"""Return text with LaTeX's special characters escaped.

    >>> escaped("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(SPECIAL.get(character, character) for character in text)
