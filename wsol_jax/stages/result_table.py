"""Tables of metrics for people and programs: Markdown and Parquet."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging

from wsol_jax.files import write_atomically

Row = dict[str, str | float]


def write_table(folder: Path, rows: Sequence[Row], notes: str = "") -> None:
    """Write table.parquet and table.md, and log the latter.

    Args:
        folder: where.
        rows: with the same keys.
        notes: text below the Markdown table.
    """
    text = markdown(rows) + notes
    write_atomically(folder / "table.parquet", lambda file: pq.write_table(pa.Table.from_pylist(rows), file))
    write_atomically(folder / "table.md", lambda file: file.write(text.encode()))
    logging.info("%s\n%s", folder / "table.md", text)


def markdown(rows: Sequence[Row]) -> str:
    """Return rows with the same keys as a Markdown table, numbers with two digits.

    Example:
        >>> print(markdown([{"method": "CAM", "pxap": 58.34}]), end="")
        | method | pxap |
        | --- | ---: |
        | CAM | 58.34 |
    """
    lines = [list(rows[0]), ["---" if type(value) is str else "---:" for value in rows[0].values()]]
    lines += [[value if type(value) is str else f"{value:.2f}" for value in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
