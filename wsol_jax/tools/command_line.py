"""The parts that all commands share: a mistake becomes one line and exit code 2."""

import argparse
import sys
from collections.abc import Callable

from wsol_jax.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are an `InputError` like any other."""

    def error(self, message: str) -> None:
        """Raise InputError with the message that argparse would print before it exits."""
        raise InputError(f"command line: {message}")


def exit_code(command: Callable[[], object]) -> int:
    """Run a command; return 0, or 2 after one line about the mistake."""
    try:
        command()
    except (InputError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"error: out of memory: {' '.join(str(error).split()) or 'no size known'}", file=sys.stderr)
        return 2
    return 0
