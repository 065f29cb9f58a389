"""Runs an experiment: `python launch.py --config=configs/psol_cub.py --workdir=W --config.data.dir=D`."""

import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from wsol_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where everything that the run makes is written.")


def parse(argv: list[str]) -> list[str]:
    """The flags, with every mistake in them as one line."""
    flags.mark_flags_as_required(["config", "workdir"])
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError) as error:
        raise InputError(f"command line: {error}") from error


def main(argv: list[str]) -> None:
    """Runs what the flags say."""
    if len(argv) > 1:
        raise InputError(
            f"command line: {argv[1]!r} is not a flag; expected --config=FILE --workdir=DIR --config.KEY=VALUE"
        )
    from wsol_jax import run

    run(CONFIG.value, Path(WORKDIR.value))


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(lambda record: "orbax" not in record.pathname)
    try:
        app.run(main, flags_parser=parse)
    except (InputError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
