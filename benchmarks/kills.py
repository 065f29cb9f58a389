"""Runs that are killed at random moments and continued, against one that was never interrupted, bit for bit.

    python benchmarks/kills.py --kills=200

Each run is a small PSOL experiment on generated scenes. It is started, killed after a random time by SIGKILL, SIGTERM
or SIGINT, started again, and so on; after --of_one_run kills it is left to finish. Then its tables, arrays, metrics and
the variables of its networks have to be those of the uninterrupted run; no unfinished file, lock or incomplete
checkpoint may be left; and nothing on stderr may be a traceback. After SIGINT the last line is how to continue.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags, logging

KILLS = flags.DEFINE_integer("kills", 200, "In all.")
OF_ONE_RUN = flags.DEFINE_integer("of_one_run", 3, "Kills of a run before it is left to finish.")
SEED = flags.DEFINE_integer("seed", 0, "Of the moments and the signals.")
STAGES = flags.DEFINE_string("stages", "pseudo_boxes,localizer,classifier,predict,evaluate", "Of the run.")

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = "stopped; the same command continues from here"
COMPARED = (".parquet", ".npy", ".npz", ".json")
LEFT = re.compile(r"\.part$|run\.lock$|orbax-checkpoint-tmp")


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(ROOT))
    logging.set_verbosity(logging.ERROR)  # Orbax tells of every file
    rng, count, wrong = random.Random(SEED.value), 0, []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "mine.py").write_text("from experiments import tiny\n\n\ndef get_config():\n    return tiny()\n")
        finish(place, "warm")  # compiles
        began = time.monotonic()
        finish(place, "whole")
        length = time.monotonic() - began
        print(f"an uninterrupted run takes {length:.0f} s", flush=True)
        runs = 0
        while count < KILLS.value:
            name, runs = f"run{runs}", runs + 1
            for _ in range(min(OF_ONE_RUN.value, KILLS.value - count)):
                number, after = rng.choice(SIGNALS), rng.uniform(0, length)
                text, code = killed(place, name, number, after)
                problem = complaint(text, code, number)
                wrong += [f"{name}: {number.name} after {after:.1f} s: {problem}"] if problem else []
                count += code != 0
                print(f"{name}: {number.name} after {after:.1f} s, code {code} {problem}", flush=True)
                if code == 0:
                    break
            finish(place, name)
        for name in (f"run{i}" for i in range(runs)):  # at the end: no process is started once JAX has its threads
            wrong += [f"{name}: {difference}" for difference in differences(place / "whole", place / name)]
    print(f"{count} kills in {runs} runs; wrong: {len(wrong)}")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


def start(place: Path, name: str) -> subprocess.Popen:
    """Start the run called `name`."""
    command = [sys.executable, "launch.py", f"--config={place / 'mine.py'}", f"--workdir={place / name}"]
    environment = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(place / "cache"),
    }
    return subprocess.Popen(
        [*command, f"--config.stages={STAGES.value}"],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell in the background ignores Ctrl-C, and so does whatever it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(place: Path, name: str) -> None:
    """Run to the end."""
    process = start(place, name)
    _, text = process.communicate()
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}:\n{text}")


def killed(place: Path, name: str, number: signal.Signals, after: float) -> tuple[str, int]:
    """Start a run and send it a signal after a time; return its stderr and its code, 0 if it was faster."""
    process = start(place, name)
    try:
        _, text = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        _, text = process.communicate()
    return text, process.returncode


def complaint(text: str, code: int, number: signal.Signals) -> str:
    """What is wrong with the end of a run that was killed; '' for nothing."""
    lines = text.splitlines()
    if code == 0:
        return ""
    if "Traceback" in text:
        return f"a traceback: {lines[-1]}"
    expected = (130, -signal.SIGINT) if number == signal.SIGINT else (-number, 128 + number)
    if code not in expected:
        return f"code {code}: {lines[-1:]}"
    if number == signal.SIGINT and lines[-1:] != [STOPPED]:
        return f"its last line is {lines[-1:]}"
    return ""


def differences(whole: Path, run: Path) -> list[str]:
    """The names of results that are not those of the uninterrupted run, and what is left over."""
    import jax
    import numpy as np

    from wsol_jax.training.checkpoints import load_variables

    def names(folder: Path) -> set[str]:
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        return {name for name in files if name.endswith(COMPARED) and "/checkpoints/" not in name}

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
