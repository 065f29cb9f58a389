"""Lists of other runs and tables in a configuration: NAME=PLACE,..., PLACE+PLACE for an ensemble."""

from pathlib import Path
from typing import NamedTuple

from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.stages.workdir import predictions_file


class Source(NamedTuple):
    """A source of predictions.

    Attributes:
        name: its row in a table.
        files: its tables of predictions; several are an ensemble.
    """

    name: str
    files: list[Path]


def parse_sources(listed: str, split: str) -> list[Source]:
    """Return the sources of a list; a place is a run's workdir or a Parquet file, PLACE+PLACE an ensemble.

    Args:
        listed: NAME=PLACE,...; a source without a name is named after its places.
        split: whose predictions a workdir stands for.

    Raises:
        InputError: two sources have one name.

    Example:
        >>> [source.name for source in parse_sources("CAM=runs/cam, runs/has", "test")]
        ['CAM', 'has']
    """
    sources = []
    for item in filter(None, (item.strip() for item in listed.split(","))):
        name, _, places = item.rpartition("=")
        paths = [to_path(place) for place in places.split("+")]
        tables = [path if path.suffix == ".parquet" else predictions_file(path, split) for path in paths]
        sources.append(Source(name or "+".join(path.stem for path in paths), tables))
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)!r} is listed twice; expected NAME=PLACE with different names")
    return sources
