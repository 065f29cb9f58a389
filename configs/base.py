"""The base of every experiment: PSOL on generated scenes, with every key at its default.

    python launch.py --config=configs/base.py --workdir=W

The keys, their meaning and their defaults stand in the files that use them, see `wsol_jax.config.default_config`;
docs/reference.md lists them all. The other files of this folder change some of them.
"""

from ml_collections import ConfigDict

from wsol_jax.config import default_config


def get_config() -> ConfigDict:
    """Return every key with its default."""
    return default_config()
