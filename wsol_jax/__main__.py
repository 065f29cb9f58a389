"""Boxes for photos, without an experiment: `wsol_jax COMMAND`, or `python -m wsol_jax COMMAND`.

    wsol_jax boxes PHOTOS --out=DIR           boxes without training, fused DDT
    wsol_jax predict RUN PHOTOS --out=DIR     boxes and classes by a trained run
    wsol_jax compare RUN [RUN ...] --out=DIR  means over seeds, differences of runs with their intervals
    wsol_jax export RUN FILE                  a run as a program that needs jax alone
    wsol_jax convert IN OUT --arch=NAME       weights as .safetensors
    wsol_jax networks                         the sizes of all networks

wsol_jax COMMAND --help lists its flags. Experiments are run by launch.py.
"""

import os
import sys
from collections.abc import Sequence

from wsol_jax.errors import InputError
from wsol_jax.tools.command_line import exit_code, show_log

COMMANDS = ("boxes", "predict", "compare", "export", "convert", "networks")


def run(arguments: Sequence[str]) -> int:
    """Run the command of a command line; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: wsol_jax {{{','.join(COMMANDS)}}} ...\n\n{__doc__}")
        return 0
    name, *rest = arguments
    try:
        return _command(name, rest)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _command(name: str, arguments: Sequence[str]) -> int:
    """Run one command; each is imported alone, as some need a second and others several."""
    match name:
        case "boxes":
            from wsol_jax.tools import boxes as command
        case "predict":
            from wsol_jax.tools import predict as command
        case "compare":
            from wsol_jax.tools import compare as command
        case "export":
            from wsol_jax.tools import export as command
        case "convert":
            from wsol_jax.tools import convert_weights as command
        case "networks":
            from wsol_jax.tools import network_sizes as command
        case _:
            return exit_code(lambda: _unknown(name))
    return command.main(arguments)


def _unknown(name: str) -> None:
    raise InputError(f"command line: there is no command {name!r}; expected one of {', '.join(COMMANDS)}")


def main() -> None:
    """Run the command of this process's command line and exit with its code."""
    show_log()
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)  # at once: the threads of a checkpoint that cannot be read would print tracebacks


if __name__ == "__main__":
    main()
