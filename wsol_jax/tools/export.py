"""Export the networks of a finished run as a program that needs jax alone.

    wsol_jax export RUN FILE

FILE is a `jax.export` artifact (StableHLO) for any number of photos on CPU, GPU and TPU; FILE.json has the classes and
the sizes. docs/load_export.py shows how to use both with jax and numpy, without this package.
"""

from collections.abc import Sequence

from wsol_jax.model.export import PLATFORMS
from wsol_jax.model.load import load
from wsol_jax.paths import to_path
from wsol_jax.tools.command_line import Parser, exit_code


def main(arguments: Sequence[str]) -> int:
    """Write the export of a command line; return the exit code."""

    def command() -> None:
        parser = Parser(prog="wsol_jax export", description=__doc__)
        parser.add_argument("run", metavar="RUN", type=to_path, help="the workdir of a finished run")
        parser.add_argument("file", metavar="FILE", type=to_path, help="the artifact to write")
        parser.add_argument("--platforms", default=",".join(PLATFORMS), help="comma-separated (default: cpu,cuda,tpu)")
        known = parser.parse_args(arguments)
        load(known.run).export(known.file, known.platforms.split(","))
        print(f"written   {known.file} and {known.file}.json")

    return exit_code(command)
