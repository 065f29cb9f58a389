"""An estimate of a run before it: stages, photos, steps, memory, and time from a few batches; nothing is written."""

import time
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict

from wsol_jax.paths import to_path
from wsol_jax.progress import clock
from wsol_jax.runs import ablation
from wsol_jax.runs.run import Plan, plan
from wsol_jax.stages.table import STAGES
from wsol_jax.stages.work import Work

MEASURED = 3  # batches after the first, which compiles
HEADER = ("stage", "photos", "batches", "memory", "time")


def dry_run(config: ConfigDict, workdir: str | Path) -> str:
    """Return a table of the loops of a run, with the time that they will take; nothing is written.

    A few real batches of each loop are computed, with compilation. Photos that were never checked are not decoded for
    it, and stages without such loops (metrics, page) are named without a time.

    Args:
        config: as a file of configs/ returns it.
        workdir: of the run; finished stages are left out.

    Raises:
        InputError: as `run`.
    """
    workdir, is_ablation = to_path(workdir), config.get("stages") == "ablation"
    runs = {row: one.config for row, one in ablation.rows(config).items()} if is_ablation else {"": config}
    rows, seconds = [HEADER], 0.0
    for name, one in runs.items():
        for row, of_row in _rows(plan(one, workdir / name, is_dry=True), f"{name}/" if name else ""):
            rows.append(row)
            seconds += of_row
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 2)]
    lines = [_line(row, widths) for row in rows]
    note = f"about {clock(seconds)} on {jax.device_count()} x {jax.devices()[0].device_kind}, by the first batches"
    return "\n".join([*lines, f"{note}; metrics and page are not in it; nothing was written"])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, *numbers = row[: len(widths)]
    columns = [f"{name:{widths[0]}}"] + [f"{n:>{width}}" for n, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([*columns, f"{row[-1]:>14}", row[-2]]).rstrip()


def _rows(planned: Plan, prefix: str) -> Iterator[tuple[tuple[str, ...], float]]:
    """The row of each loop and its seconds."""
    for name, context in planned.contexts.items():
        stage = STAGES[name]
        works = stage.work(planned.config[stage.key], context) if name in planned.to_do else []
        for work in works:
            seconds, rate = estimate(work)
            memory = ", ".join(f"{what} {size / 1e6:.1f} MB" for what, size in work.memory.items())
            count = f"{work.batches}" if not work.done else f"{work.batches - work.done} of {work.batches}"
            yield (prefix + work.name, str(work.photos), count, memory, f"{clock(seconds)} ({rate:.1f}/s)"), seconds
        if not works:
            yield (prefix + name, "", "", "", "finished" if name not in planned.to_do else "not measured"), 0.0


def estimate(work: Work) -> tuple[float, float]:
    """Return the seconds that a loop will take, with its compilation, and its photos per second."""
    left, start = work.batches - work.done, time.perf_counter()
    if not left:
        return 0.0, 0.0
    attempt = work.attempt()
    next(attempt)
    compiled = begin = time.perf_counter()
    count = 0
    for _ in zip(range(MEASURED), attempt, strict=False):
        count, compiled = count + 1, time.perf_counter()
    attempt.close()
    each = (compiled - begin) / count if count else begin - start
    return (begin - start) + each * (left - 1), work.photos / work.batches / each
