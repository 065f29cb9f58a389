"""The base of every experiment: PSOL on generated scenes, with every key at its default.

    python launch.py --config=configs/base.py --workdir=W

Every key and its default is defined in the file that uses it, see `wsol_jax.config.default_config`; docs/reference.md
lists all of them. The other files of this folder change some. This one starts from random weights.
"""

from ml_collections import ConfigDict

from wsol_jax.config import default_config


def get_config() -> ConfigDict:
    """Return every key with its default."""
    return default_config()
