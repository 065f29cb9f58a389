"""Compare finished runs on the same photos: means over seeds, and differences with their intervals.

    wsol_jax compare RUN [RUN ...] --out=DIR

RUN is the workdir of a finished run, or a pattern such as 'runs/cam_*'. Runs that differ in their seed alone are one
group, called after its first workdir; NAME=RUN gives another name, under which runs may also differ in the paths of the
runs and files that they read, e.g. evaluate.pseudo_from. The first group is the one that the others are compared with.
DIR holds comparison.md, comparison.csv (all metrics), means.tex, differences.tex, and the figure as comparison.pdf and
comparison.png.
"""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging

from wsol_jax.errors import InputError
from wsol_jax.evaluation.groups import summarise
from wsol_jax.evaluation.photo_results import statistic
from wsol_jax.paths import to_path
from wsol_jax.report.comparison import SHOWN, Comparison, Summaries, markdown, write_comparison
from wsol_jax.stages.finished_runs import (
    FinishedRun,
    differ_in_inputs_alone,
    differing_keys,
    read_run,
    require_same_photos,
)
from wsol_jax.tools.command_line import Parser, exit_code

VALUE = 40  # characters of a value in a note


class Named(NamedTuple):
    """A run of a command line.

    Attributes:
        name: of its group, '' for that of the workdir.
        run: its results.
    """

    name: str
    run: FinishedRun


Groups = dict[str, list[FinishedRun]]


def main(arguments: Sequence[str]) -> int:
    """Write the comparison of a command line; return the exit code."""

    def command() -> None:
        parser = Parser(prog="wsol_jax compare", description=__doc__)
        parser.add_argument("runs", metavar="RUN", nargs="+", help="workdirs of finished runs, or NAME=WORKDIR")
        parser.add_argument("--out", metavar="DIR", type=to_path, required=True, help="the folder of the results")
        parser.add_argument("--split", default="test", help="the photos to compare (default: test)")
        parser.add_argument("--metrics", default="", help="of the tables and the figure, comma-separated")
        parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (default: 1000)")
        parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
        known = parser.parse_args(arguments)
        if known.resamples < 1 or known.seed < 0:
            raise InputError(f"command line: resamples {known.resamples}, seed {known.seed}; expected at least 1 and 0")
        comparison = compare(known.runs, known.split, known.metrics, known.seed, known.resamples)
        write_comparison(known.out, comparison)
        logging.info("%s\n%s", known.out / "comparison.md", markdown(comparison))

    return exit_code(command)


def compare(listed: Sequence[str], split: str, metrics: str, seed: int, resamples: int) -> Comparison:
    """Return the comparison of runs.

    Args:
        listed: workdirs or patterns of them, each with NAME= or without.
        split: of the photos.
        metrics: comma-separated; '' for those of `SHOWN`.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        InputError: a run is not finished, or on other photos; a seed comes twice in a group; a name stands for runs
            that differ in more than the seed and the paths of their inputs; no group has one of the metrics.
    """
    named = [Named(name, read_run(workdir, split)) for name, workdir in workdirs(listed)]
    require_same_photos([one.run for one in named], split)
    groups = grouped(named)
    statistics = {
        group: [statistic(run.results, run.step, run.chosen) for run in runs] for group, runs in groups.items()
    }
    photos = len(named[0].run.results.image)
    summaries = summarise(statistics, photos, seed, resamples)
    return Comparison(split, photos, _chosen(metrics, summaries), summaries, notes(groups))


def workdirs(listed: Sequence[str]) -> list[tuple[str, Path]]:
    """Return the workdirs of a command line, each with the name of its group, '' without one.

    Raises:
        InputError: a pattern stands for no folder, or a workdir comes twice.
    """
    found: list[tuple[str, Path]] = []
    for item in listed:
        name, _, place = ("", "", item) if to_path(item).is_dir() else item.rpartition("=")
        paths = [to_path(place).expanduser()]
        if not paths[0].exists() and glob.has_magic(place):
            matches = sorted(glob.glob(str(paths[0])))  # noqa: PTH207 - Path.glob takes no absolute pattern
            paths = [path for path in map(Path, matches) if path.is_dir()]
            if not paths:
                raise InputError(f"{place}: no such folders; expected workdirs of runs")
        found += [(name, path) for path in paths]
    places = [path.resolve() for _, path in found]
    if twice := next((path for path in places if places.count(path) > 1), None):
        raise InputError(f"{twice} comes twice; expected different runs")
    return found


def grouped(named: Sequence[Named]) -> Groups:
    """Return the groups of runs, by name, in the order of their first runs.

    Runs of a group differ in their seed alone or, with a name of the command line, in the paths of their inputs too.

    Raises:
        InputError: see `compare`.
    """
    groups: list[list[Named]] = []
    for one in named:
        same = [group for group in groups if _belongs(one, group)]
        if not same:
            groups.append([one])
            continue
        if twin := next((other for other in same[0] if other.run.seed == one.run.seed), None):
            raise InputError(
                f"{one.run.workdir} has the seed {one.run.seed} and the keys of {twin.run.workdir}; expected runs that "
                "differ in their seed, or in a key"
            )
        same[0].append(one)
    by_name: Groups = {}
    for group in groups:
        name, runs = group[0].name or group[0].run.workdir.resolve().name, [one.run for one in group]
        if name in by_name:
            keys = ", ".join(differing_keys(runs[0].recipe, by_name[name][0].recipe)) or "nothing"
            raise InputError(
                f"{runs[0].workdir} and {by_name[name][0].workdir} are both called {name}, but differ in {keys}; "
                "expected another NAME=RUN for one of them"
            )
        by_name[name] = runs
    return by_name


def _belongs(one: Named, group: Sequence[Named]) -> bool:
    first, seeds = group[0], {other.run.seed for other in group}
    is_same = first.run.recipe == one.run.recipe
    may_differ = bool(one.name) and one.run.seed not in seeds
    is_alike = is_same or (may_differ and differ_in_inputs_alone(one.run.recipe, first.run.recipe))
    return first.name == one.name and is_alike


def notes(groups: Groups) -> list[str]:
    """Return lines about the groups: runs, differing inputs, seeds that others do not have, and differing keys."""
    lines, (first, of_first) = [], next(iter(groups.items()))
    for name, runs in groups.items():
        seeds = ", ".join(str(run.seed) for run in runs)
        line = f"{name}: n = {len(runs)}, {'seed' if len(runs) == 1 else 'seeds'} {seeds}"
        lines.append(line + (", no deviation" if len(runs) == 1 else ""))
        of_runs = dict.fromkeys(key for run in runs for key in differing_keys(run.recipe, runs[0].recipe))
        for key in (key for key in of_runs if all(key in run.recipe for run in runs)):  # a file is of some runs alone
            values = ", ".join(_short(run.recipe[key]) for run in runs)
            lines.append(f"the runs of {name} differ in {key} too: {values}")
        missing = [str(run.seed) for run in runs if run.seed not in {other.seed for other in of_first}]
        missing_there = [str(run.seed) for run in of_first if run.seed not in {other.seed for other in runs}]
        for group, seeds_of, other in ((name, missing, first), (first, missing_there, name)):
            if seeds_of:
                lines.append(f"{group} has the seed {', '.join(seeds_of)} without a twin in {other}")
        if keys := differing_keys(runs[0].recipe, of_first[0].recipe):
            values = "; ".join(f"{key} is {_short(value)}" for key, value in keys.items())
            lines.append(f"{name} differs from {first}: {values}")
    return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= VALUE else f"{text[: VALUE - 3]}..."


def _chosen(metrics: str, summaries: Summaries) -> list[str]:
    present = dict.fromkeys(name for of_group in summaries.values() for name in of_group)
    names = [name.strip() for name in metrics.split(",") if name.strip()] or [name for name in SHOWN if name in present]
    if unknown := [name for name in names if name not in present] or ([] if names else ["any metric"]):
        raise InputError(f"no run has {unknown[0]}; expected some of {', '.join(present) or 'a run with true boxes'}")
    return names
