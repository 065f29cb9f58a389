"""Run an experiment, or continue one that was stopped.

    python launch.py --config=psol_cub --workdir=W --config.data.dir=CUB_200_2011

--config.KEY=VALUE changes a key of the experiment, e.g. --config.localizer.epochs=3; docs/reference.md lists all keys.
"""

import os
import signal
import sys

STOPPED = "stopped; the same command continues from here"


def stop_at_once(*_: object) -> None:
    """Print how to continue, and exit: while the imports take their seconds there is nothing to remove."""
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop_at_once)

import ast
import re
import runpy
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

import wsol_jax
from wsol_jax import InputError, processes
from wsol_jax.config import OPEN_GROUPS, unknown_key
from wsol_jax.paths import to_path
from wsol_jax.processes import STOPPED as STOPPED_BY_SIGTERM
from wsol_jax.runs.dry_run import dry_run
from wsol_jax.tools.command_line import Parser, show_log
from wsol_jax.tools.distributed import add_flags, run_together

CONFIGS = Path(__file__).parent / "configs"
EXPECTED = "--config=FILE, --workdir=DIR or --config.KEY=VALUE"


def main(arguments: Sequence[str]) -> int:
    """Run the experiment of a command line; return the exit code."""
    return run_together(arguments, lambda arguments: carry_out(*parse(arguments)))


def carry_out(config: ConfigDict, workdir: Path, is_dry: bool) -> None:
    """Run an experiment; or print an estimate of its cost, and write nothing."""
    processes.require_equal("command lines", {"--dry_run": is_dry})
    if is_dry:
        estimate = dry_run(config, workdir)  # by the devices of all processes
        if processes.is_first():
            print(estimate)
    else:
        wsol_jax.run(config, workdir)


def parse(arguments: Sequence[str]) -> tuple[ConfigDict, Path, bool]:
    """Return the experiment, with the keys that the command line changes, the workdir, and whether it is a dry run.

    Raises:
        InputError: a flag is missing or unknown; the file, a key or a value is wrong.
    """
    parser = Parser(description=__doc__, epilog=f"configs:\n{list_configs()}")
    parser.add_argument("--config", required=True, metavar="FILE", help="the experiment: a name below, or a file")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where all results are written")
    parser.add_argument("--dry_run", action="store_true", help="print stages, steps, memory and time; write nothing")
    add_flags(parser)
    known, overrides = parser.parse_known_args(joined(arguments))
    if not known.workdir:
        raise InputError("--workdir is empty; expected a folder")
    config = load(at_home(known.config))
    for override in overrides:
        change(config, override)
    return config, to_path(at_home(known.workdir)), known.dry_run


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--config.KEY VALUE` as `--config.KEY=VALUE`."""
    result: list[str] = []
    for argument in arguments:
        before = result[-1] if result else ""
        if before.startswith("--config.") and "=" not in before and not argument.startswith("--"):
            result[-1] = f"{before}={argument}"
        else:
            result.append(argument)
    return result


def at_home(text: str) -> str:
    """Return a text with the home folder for each `~` that starts a path: all of it, or one of NAME=PATH,PATH+PATH."""
    return re.sub(r"(?:(?<=^)|(?<=[=,+]))~(?=/|$)", lambda _: str(Path.home()), text)


def list_configs() -> str:
    """Return a line for each file of configs/: its name, and the first line of its docstring."""
    titles = {}
    for file in sorted(CONFIGS.glob("*.py")):
        titles[file.stem] = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
    width = max(map(len, titles), default=0)
    return "\n".join(f"  {name:{width}}  {title}" for name, title in titles.items())


def load(path: str) -> ConfigDict:
    """Return the result of `get_config()` of a Python file, locked.

    Args:
        path: of the file, from the working directory or from this file's folder; or the name of a file of configs/.

    Raises:
        InputError: there is no such file, or its code fails in any way.
    """
    places = (Path(path), CONFIGS.parent / path, CONFIGS / f"{path}.py")
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise InputError(f"--config={path}: there is no such file; expected one, or a name that --help lists")
    try:
        config = runpy.run_path(str(file))["get_config"]()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it may raise anything, and exit
        if isinstance(error, SystemExit) and error.code == STOPPED_BY_SIGTERM:
            raise
        raise InputError(f"--config={path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={path}: get_config() returned {type(config).__name__}, expected a ConfigDict")
    return config.lock()


def change(config: ConfigDict, argument: str) -> None:
    """Apply `--config.KEY=VALUE` to the configuration.

    Raises:
        InputError: it is another argument, no such key exists, or the value is of another type than the key's.
    """
    key, equals, text = argument.removeprefix("--config.").partition("=")
    if not argument.startswith("--config.") or not equals:
        raise InputError(f"command line: {argument!r} is not understood; expected {EXPECTED}")
    text = at_home(text)
    argument = f"--config.{key}={text}"
    if is_open(config, key):
        change_open_group(config, argument, key, text)
        return
    before = current_value(config, key, argument)
    if isinstance(before, tuple):
        change_tuple(config, argument, key, text)
        return
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=["", argument])
        values(["", argument])
    except (flags.Error, TypeError, ValueError) as error:
        raise InputError(f"{argument}: expected a value of type {type(before).__name__}") from error


def is_open(config: ConfigDict, key: str) -> bool:
    """Return whether a key is a group whose keys are not fixed, or lies in one; `localizer.views` is a number."""
    value = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, ConfigDict) else None
        if name in OPEN_GROUPS:
            return isinstance(value, ConfigDict)
    return False


def change_tuple(config: ConfigDict, argument: str, key: str, text: str) -> None:
    """Apply an argument to a key of several values, e.g. `--config.pseudo.threshold_levels=0,0.2`.

    Raises:
        InputError: the values are no Python literals.
    """
    group, _, name = key.rpartition(".")
    owner = current_value(config, group, argument, is_group=True)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{argument}: expected values separated by commas, such as {owner[name]!r}") from error
    owner[name] = value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else (value,)


def change_open_group(config: ConfigDict, argument: str, key: str, text: str) -> None:
    """Apply an argument to a group whose keys are not fixed, e.g. `--config.train.arch_kwargs={}` or `….stride=8`.

    Raises:
        InputError: there is no such group, or the value is no Python literal, or no dict for the group itself.
    """
    path = key.split(".")
    depth = next(i for i, name in enumerate(path, start=1) if name in OPEN_GROUPS)
    owner = current_value(config, ".".join(path[: depth - 1]), argument, is_group=True)
    example = "{'stride': 16}" if depth == len(path) else "16 or (3, 4, 6, 3)"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{argument}: expected a Python literal such as {example}") from error
    for name in reversed(path[depth:]):
        value = {name: value}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{argument}: expected a group such as {example}")
    before = {} if depth == len(path) else owner[path[depth - 1]].to_dict()
    try:
        with config.unlocked():
            owner[path[depth - 1]] = ConfigDict(before | value)
    except (ValueError, TypeError, AttributeError) as error:  # keys with dots, or that are no text
        raise InputError(f"{argument}: expected a group such as {example}") from error


def current_value(config: ConfigDict, key: str, argument: str, is_group: bool = False) -> object:
    """Return the value of a key such as 'localizer.epochs'.

    Args:
        config: a whole configuration.
        key: names joined by dots.
        argument: that names the key, for the error.
        is_group: a group of other keys is expected instead of a value.

    Raises:
        InputError: no such key exists, or it is a group of other keys and not a value.
    """
    value = config
    for name in key.split("."):
        known = list(value) if isinstance(value, ConfigDict) else []
        if name not in known:
            raise InputError(f"{argument}: {unknown_key(name, known)}")
        value = value[name]
    if isinstance(value, ConfigDict) and not is_group:
        raise InputError(f"{argument}: this is a group of keys; expected one of {', '.join(value)}")
    return value


if __name__ == "__main__":
    show_log()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = main(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run is over, whatever the libraries' threads still finish
    if code:
        sys.stderr.flush()
        os._exit(code)  # at once: a checkpoint that cannot be read leaves threads behind that would print tracebacks
