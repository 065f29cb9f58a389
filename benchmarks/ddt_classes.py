"""Peak memory and processor time of DDT without its network, for many classes.

    python benchmarks/ddt_classes.py --classes=1000 --per_class=1300 --channels=8

The features are random; the statistics and heat maps are written as by the stage. Prints the peak memory before and
after, and the seconds of processor, of all threads.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags, logging

CLASSES = flags.DEFINE_integer("classes", 1000, "How many.")
PER_CLASS = flags.DEFINE_integer("per_class", 1300, "Photos of each.")
CHANNELS = flags.DEFINE_integer("channels", 8, "Of the features; VGG16's last map has 512.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 130, "Photos in a chunk; pseudo.batch_size is 16.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 2**31, "Of features that are kept; those of the other photos pass twice.")
CELLS = flags.DEFINE_integer("cells", 14, "Of a side of the features.")


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import jax
    import numpy as np

    from configs.base import get_config
    from wsol_jax.pseudo.ddt import Chunk
    from wsol_jax.pseudo.heat_maps import fit_heat_maps

    logging.set_verbosity(logging.ERROR)
    config = get_config().pseudo
    config.batch_size, config.max_bytes = BATCH_SIZE.value, MAX_BYTES.value

    @jax.jit
    def features(index: jax.Array) -> jax.Array:
        keys = jax.vmap(lambda photo: jax.random.fold_in(jax.random.key(0), photo))(index)
        return jax.vmap(lambda key: jax.random.normal(key, (CELLS.value, CELLS.value, CHANNELS.value)))(keys)

    def read(indices: np.ndarray) -> Iterator[Chunk]:
        for start in range(0, len(indices), config.batch_size):
            index = np.resize(indices[start : start + config.batch_size], config.batch_size)
            yield Chunk(index, np.arange(config.batch_size) < len(indices) - start, jax.numpy.asarray(index))

    groups = np.tile(np.arange(CLASSES.value), PER_CLASS.value)
    before = _peak()
    with tempfile.TemporaryDirectory(prefix="wsol_jax_ddt_") as folder:
        files = [Path(folder) / f"{group}.npz" for group in range(CLASSES.value)]
        heat = fit_heat_maps(features, read, groups, files, config)
        assert heat.shape == (len(groups), CELLS.value, CELLS.value) and np.isfinite(heat[::1000]).all()
    print(f"peak memory: {before:.2f} GB before, {_peak():.2f} after; {time.process_time():.0f} s of processor")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    app.run(main)
