"""A run in two processes whose workdir and photos are in a store: one is killed, and the same command continues."""

import os
import signal
import sys
import time
from pathlib import Path

import compiling
import experiments
import numpy as np
import pytest
import stores
import tiny
from ml_collections import ConfigDict

import wsol_jax
from wsol_jax.paths import copy_folder, to_path
from wsol_jax.tools.distributed import run_together
from wsol_jax.training import loop

COMPLETE = "runs/w/localizer/checkpoints/1/commit_success.txt"


def config(photos: str) -> ConfigDict:
    keys = {"data.dir": photos, "stages": "pseudo_boxes,localizer,predict,evaluate", "localizer.arch": "vgg_gap"}
    keys = experiments.tiny("psol_cub", **keys)
    keys.localizer.arch_kwargs = ConfigDict(experiments.NARROW["vgg_gap"])  # quick to compile
    return keys


def work() -> int:
    """Run it in one of two processes; the second is killed after the training, once the first checkpoint is there."""
    with stores.joined(sys.argv[1]) as bucket:
        save = loop.save

        def save_once(checkpoints, state) -> None:
            if int(state.step) == 2 and "--process_id=1" in sys.argv:
                while COMPLETE not in bucket.objects:
                    time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
            save(checkpoints, state)

        loop.save = save_once
        return run_together(sys.argv[2:], lambda _: wsol_jax.run(config("gs://bucket/cub"), "gs://bucket/runs/w"))


@pytest.mark.long
def test_a_run_of_two_processes_continues_after_one_was_killed(store, tmp_path):
    experiments.write_cub(tmp_path / "cub")
    copy_folder(tmp_path / "cub", to_path("gs://bucket/cub"))
    source = "import sys, test_remote_processes; sys.exit(test_remote_processes.work())"
    flags = [store.address, f"--coordinator={tiny.free_address()}", "--num_processes=2"]
    environment = {"cwd": Path(__file__).parent, "XLA_FLAGS": compiling.flags(4)}
    both = [tiny.python(source, *flags, f"--process_id={number}", **environment) for number in range(2)]
    errors = [process.communicate(timeout=500)[1].decode() for process in both]
    assert both[1].returncode == -signal.SIGKILL, errors[1]
    assert both[0].returncode == 1
    gone = "process 1: error: it was killed, or its host is gone: no sign of life for 10 s; process 0 then failed: "
    assert errors[0].splitlines()[-1].startswith(f"{gone}a checkpoint cannot be written to gs://"), errors[0]
    assert COMPLETE in store.objects and "runs/w/metrics.json" not in store.objects

    store.written.clear()
    ours = wsol_jax.run(config("gs://bucket/cub"), "gs://bucket/runs/w")
    assert not [name for name in store.written if "checkpoints/1/" in name or "/pseudo_boxes/" in name]
    theirs = wsol_jax.run(config(str(tmp_path / "cub")), tmp_path / "w")
    assert experiments.files(to_path("gs://bucket/runs/w")) == experiments.files(tmp_path / "w")
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose([*ours.values()], [*theirs.values()], atol=0.01)
