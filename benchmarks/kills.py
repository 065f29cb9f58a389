"""Runs that are killed at random moments and continued, against one that was never interrupted, bit for bit.

    python benchmarks/kills.py --kills=200

Each run is a small experiment of PSOL-Joint on generated scenes. It is started, killed by SIGKILL, SIGTERM or SIGINT
after a random processor time, started again, and so on; after --of_one_run kills it is left to finish. Then its tables,
arrays, metrics and the variables of its network have to be those of the uninterrupted run; no unfinished file, lock or
incomplete checkpoint may be left; and nothing on stderr may be a traceback. After SIGINT the last line is how to
continue.

One of three starts is `python launch.py`, half of whose processor time are imports. The others are forks of a process
that has imported everything: they run the same file, and are killed while it works.
"""

import multiprocessing
import os
import random
import re
import runpy
import signal
import sys
import tempfile
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple

from absl import app, flags, logging

KILLS = flags.DEFINE_integer("kills", 200, "In all.")
OF_ONE_RUN = flags.DEFINE_integer("of_one_run", 8, "Kills of a run before it is left to finish.")
SEED = flags.DEFINE_integer("seed", 0, "Of the moments and the signals.")
STAGES = flags.DEFINE_string("stages", "pseudo_boxes,joint,predict,evaluate", "Of the run.")

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = "stopped; the same command continues from here"
COMPARED = (".parquet", ".npy", ".npz", ".json")
LEFT = re.compile(r"\.part$|run\.lock$|orbax-checkpoint-tmp")
TICKS = os.sysconf("SC_CLK_TCK")
PYTHON = 0.05  # processor seconds until the first statement of launch.py: Ctrl-C before it is Python's to answer
EXPERIMENT = """
from experiments import tiny


def get_config():
    config = tiny()
    for part in (config.pseudo, config.joint):
        part.arch = "vgg_gap"
        part.arch_kwargs = dict(widths=(4, 4, 4, 4, 4), depths=(1, 1, 1, 1, 1))
    return config
"""


class End(NamedTuple):
    """How a process ended: its code, stderr, and the processor seconds that it took."""

    code: int
    text: str
    took: float


class Place:
    """The folder of all runs, and the two ways to start one."""

    def __init__(self, folder: Path, server: ForkServerContext):
        self.folder, self.server = folder, server
        (folder / "mine.py").write_text(EXPERIMENT)

    def run(self, name: str, is_new: bool, after: float = float("inf"), number: signal.Signals = signal.SIGKILL) -> End:
        """Start the run called `name`, and send it a signal after some processor seconds.

        Args:
            name: of the run.
            is_new: whether in a new interpreter, not in a fork.
            after: processor seconds.
            number: of the signal.
        """
        arguments = [f"--config={self.folder / 'mine.py'}", f"--workdir={self.folder / name}"]
        arguments += [f"--config.stages={STAGES.value}"]
        log, took = self.folder / "stderr", 0.0
        process = self.server.Process(target=anew if is_new else launch, args=(arguments, log))
        log.write_text("")
        process.start()
        while process.is_alive():
            took = seconds(process.pid) or took
            if took >= after:
                os.kill(process.pid, number)
                process.join()
            process.join(0.01)
        return End(process.exitcode, log.read_text(errors="replace"), took)


def launch(arguments: list[str], log: Path) -> None:
    """Do in this process what `python launch.py` does."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    sys.argv = ["launch.py", *arguments]
    runpy.run_path(str(ROOT / "launch.py"), run_name="__main__")


def anew(arguments: list[str], log: Path) -> None:
    """Become `python launch.py`."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    # a shell in the background ignores Ctrl-C, and so does whatever it starts
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, str(ROOT / "launch.py"), *arguments])


def seconds(process: int) -> float:
    """Return the processor seconds of a process; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / TICKS


def main(_: list[str]) -> None:
    """Run the benchmark."""
    logging.set_verbosity(logging.ERROR)  # Orbax logs every file
    rng, count, runs, wrong, began = random.Random(SEED.value), 0, 0, [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), fork_server(Path(folder)))
        finish(place, "warm")  # compiles
        length = {is_new: finish(place, f"whole{is_new}", is_new) for is_new in (True, False)}
        print(f"an uninterrupted run takes {length[True]:.1f} s of a processor, a fork {length[False]:.1f}", flush=True)
        while count < KILLS.value:
            name, runs = f"run{runs}", runs + 1
            for _ in range(min(OF_ONE_RUN.value, KILLS.value - count)):
                is_new, number = rng.random() < 1 / 3, rng.choice(SIGNALS)
                after = rng.uniform(PYTHON if is_new else 0, length[is_new])
                end = place.run(name, is_new, after, number)
                problem = complaint(end, number)
                how = f"{name}: {number.name} after {after:.2f} s, {'new' if is_new else 'fork'}, code {end.code}"
                wrong += [f"{how}: {problem}\n{end.text}"] if problem else []
                count += end.code != 0
                print(f"{count:3} {how} {problem}", flush=True)
                if end.code == 0:
                    break
            else:
                finish(place, name)
        for name in ("wholeFalse", *(f"run{i}" for i in range(runs))):  # at the end: JAX has threads from here on
            wrong += [f"{name}: {difference}" for difference in differences(place.folder, name)]
    print(f"{count} kills in {runs} runs, {time.monotonic() - began:.0f} s; wrong: {len(wrong)}")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


def fork_server(folder: Path) -> ForkServerContext:
    """Return a server of processes that have imported everything, and started nothing of JAX."""
    os.environ |= {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["launch", "experiments", "tensorflow", "clu.metric_writers"])
    return server


def finish(place: Place, name: str, is_new: bool = False) -> float:
    """Run to the end; return the processor seconds that it took."""
    end = place.run(name, is_new)
    if end.code:
        raise SystemExit(f"{name} ended with {end.code}:\n{end.text}")
    return end.took


def complaint(end: End, number: signal.Signals) -> str:
    """Return the fault in the end of a run that was killed; '' for none."""
    lines = end.text.splitlines()
    if end.code == 0:
        return ""
    if "Traceback" in end.text:
        return f"a traceback: {lines[-1]}"
    expected = {signal.SIGKILL: (-9,), signal.SIGTERM: (-15, 75), signal.SIGINT: (130, -2)}[number]
    if end.code not in expected:
        return f"code {end.code}: {lines[-1:]}"
    if end.code == 130 and lines[-1:] != [STOPPED]:
        return f"its last line is {lines[-1:]}"
    return ""


def differences(folder: Path, name: str) -> list[str]:
    """The names of results that are not those of the uninterrupted run, and what is left over."""
    import jax
    import numpy as np

    from wsol_jax.training.checkpoints import load_variables

    def names(folder: Path) -> set[str]:
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        return {name for name in files if name.endswith(COMPARED) and "/checkpoints/" not in name}

    whole, run = folder / "wholeTrue", folder / name
    found = [f"{path.name} is left" for path in run.rglob("*") if LEFT.search(path.name)]
    found += [f"{name} is not in both" for name in names(whole) ^ names(run)]
    common = sorted(names(whole) & names(run))
    found += [f"{name} differs" for name in common if (whole / name).read_bytes() != (run / name).read_bytes()]
    for checkpoints in whole.glob("*/checkpoints"):
        a, b = (load_variables(folder / checkpoints.relative_to(whole)) for folder in (whole, run))
        same = jax.tree.map(lambda x, y: np.array_equal(x, y, equal_nan=True), a, b)
        if not all(jax.tree.leaves(same)):
            found.append(f"the variables of {checkpoints.parent.name} differ")
    return found


if __name__ == "__main__":
    app.run(main)
