"""Runs an experiment, or goes on with one that was stopped.

    python launch.py --config=configs/psol_cub.py --workdir=W --config.data.dir=CUB_200_2011

--config.KEY=VALUE changes a key of the experiment, e.g. --config.localizer.epochs=3; configs/base.py explains them all.
"""

import argparse
import difflib
import logging
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

import wsol_jax
from wsol_jax import InputError
from wsol_jax.command_line import Parser, exit_code

EXPECTED = "--config=FILE, --workdir=DIR or --config.KEY=VALUE"


def main(arguments: Sequence[str]) -> int:
    """Runs what a command line says; returns the exit code."""
    try:
        return exit_code(lambda: wsol_jax.run(*parse(arguments)))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str]) -> tuple[ConfigDict, Path]:
    """The experiment, with the keys that the command line changes, and the workdir.

    Raises:
        InputError: a flag is missing or unknown, the file or one of the keys or values is wrong.
    """
    parser = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the experiment: a file of configs/")
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="where everything that the run makes is written"
    )
    known, overrides = parser.parse_known_args(arguments)
    config = load(known.config)
    for override in overrides:
        change(config, override)
    return config, Path(known.workdir)


def load(path: str) -> ConfigDict:
    """What `get_config()` of a Python file returns, locked.

    Raises:
        InputError: there is no such file, or anything at all goes wrong in it.
    """
    if not Path(path).is_file():
        raise InputError(f"--config={path}: there is no such file")
    try:
        config = runpy.run_path(path)["get_config"]()
    except Exception as error:
        raise InputError(f"--config={path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={path}: get_config() returned {type(config).__name__}, expected a ConfigDict")
    return config.lock()


def change(config: ConfigDict, argument: str) -> None:
    """Does to the configuration what `--config.KEY=VALUE` says.

    Raises:
        InputError: it is another argument, or no such key exists, or the value is of another type than the key's.
    """
    key, equals, _ = argument.removeprefix("--config.").partition("=")
    if not argument.startswith("--config.") or not equals:
        raise InputError(f"command line: {argument!r} is not understood; expected {EXPECTED}")
    before = current_value(config, key, argument)
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=["", argument])
        values(["", argument])
    except (flags.Error, TypeError, ValueError) as error:
        raise InputError(f"{argument}: expected a value of type {type(before).__name__}") from error


def current_value(config: ConfigDict, key: str, argument: str) -> object:
    """The value of 'localizer.epochs' and the like.

    Raises:
        InputError: no such key exists, or it is a group of other keys.
    """
    value = config
    for name in key.split("."):
        there = list(value) if isinstance(value, ConfigDict) else []
        if name not in there:
            similar = difflib.get_close_matches(name, there, 1)
            raise InputError(f"{argument}: there is no key {name!r}; expected {', '.join(similar or there) or 'none'}")
        value = value[name]
    if isinstance(value, ConfigDict) and len(value):
        raise InputError(f"{argument}: this is a group of keys; expected one of {', '.join(value)}")
    return value


def show_log() -> None:
    """Lets our own log through to stderr, and the warnings of other libraries, but not their chatter."""
    package = Path(wsol_jax.__file__).parent

    def is_for_people(record: logging.LogRecord) -> bool:
        ours = package in Path(record.pathname).parents
        return ours or (record.levelno >= logging.WARNING and "orbax" not in record.pathname)

    handler = logging.StreamHandler()
    handler.addFilter(is_for_people)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=[handler])
    logging.getLogger("absl").setLevel(logging.INFO)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads both when it is imported, later
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # says so at every start otherwise; it only reads photos here


if __name__ == "__main__":
    show_log()
    code = main(sys.argv[1:])
    if code:
        sys.stderr.flush()
        os._exit(code)  # at once: a checkpoint that cannot be read leaves threads behind that would print tracebacks
