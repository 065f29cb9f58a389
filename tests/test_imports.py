"""The mathematics imports without TensorFlow, and a part does not wait for the whole."""

import subprocess
import sys

import pytest

MATHS = (
    "boxes",
    "losses.box",
    "evaluation.direct_boxes",
    "pseudo.ddt",
    "pseudo.regions",
    "methods.localizer",
    "backbones",
)
HEAVY = ("tensorflow", "tensorflow_datasets", "clu", "tensorboard")


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import wsol_jax", (*HEAVY, "jax", "orbax", "matplotlib", "pyarrow")),
        (f"import {', '.join(f'wsol_jax.{name}' for name in MATHS)}", (*HEAVY, "orbax", "matplotlib")),
        ("import wsol_jax.stages", HEAVY),
    ],
    ids=["the package", "the mathematics", "everything"],
)
def test_what_an_import_brings(statement, unwanted):
    command = f"import sys; {statement}; print(' '.join(name for name in {unwanted!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
