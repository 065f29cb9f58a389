"""What our commands share: a mistake becomes one line and exit code 2."""

import argparse
import sys
from collections.abc import Callable

from wsol_jax.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are an `InputError` like any other."""

    def error(self, message: str) -> None:
        """Raises what argparse would print, with its usage, before it exits."""
        raise InputError(f"command line: {message}")


def exit_code(command: Callable[[], object]) -> int:
    """Runs a command: 0, or 2 after one line that says what is wrong."""
    try:
        command()
    except (InputError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
