"""Eight fake devices, strict shapes, and the way to the real photos."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import compiling

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {compiling.flags(8)}"
# For the processes that tests start as well: no test uses the user's own caches, and what compiles in less than this is
# not worth a file.
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parent.parent / ".pytest_cache" / "user")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
# As many threads in every process as this one has devices: on some processors convolutions round by their number.
os.environ["NPROC"] = "8"

import jax
import pytest
import stores

ROOT = Path(__file__).parent.parent

# The files that take longest, the longest first: started last, one of them would keep a single worker busy at the end.
LONGEST = (
    "test_network",
    "test_dawsol",
    "test_notebooks",
    "test_configs",
    "test_psol",
    "test_real",
    "test_run_in_processes",
    "test_remote_processes",
    "test_variants",
    "test_convolutions",
    "test_run",
    "test_any_backbone",
    "test_artifact",
)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".pytest_cache" / "jax"))
# Nearly all networks of the tests run for a step or two: to optimise them takes longer than to run them.
jax.config.update("jax_disable_most_optimizations", True)

# Traced programs are millions of live objects: a tenth of the time goes to collections that free nothing.
gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos, real weights and goldens; the test is skipped where there is none."""
    folder = Path(os.environ.get("WSOL_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real photos or weights at {folder}; set WSOL_SHARED to their folder")
    return folder


@pytest.fixture
def optimised() -> Iterator[None]:
    """For whole networks, which take longer to run than to optimise."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def store() -> Iterator[stores.Bucket]:
    """A bucket in memory in place of gs://."""
    with stores.opened() as bucket:
        yield bucket


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest, and let tests on real photos run optimised networks."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONGEST)))
    for item in items:
        if item.get_closest_marker("real"):
            item.add_marker(pytest.mark.usefixtures("optimised"))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of trimmed answers of the published code."""
    return ROOT / "tests" / "goldens"
