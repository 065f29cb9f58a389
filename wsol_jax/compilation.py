"""The cache of compiled programs: a second start of the same networks compiles nothing."""

from pathlib import Path

import jax
from absl import logging
from jax.experimental.compilation_cache import compilation_cache

from wsol_jax.files import user_folder

AUTO = "auto"


def keep_compiled(folder: str) -> None:
    """Start to keep compiled programs in a folder, unless this process keeps them already.

    Args:
        folder: 'auto' for `wsol_jax` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache), '' for none. A folder
            that JAX was given by itself, e.g. by $JAX_COMPILATION_CACHE_DIR, has priority over 'auto'.
    """
    if not folder or (folder == AUTO and jax.config.jax_compilation_cache_dir):
        return
    place = Path(folder).expanduser() if folder != AUTO else user_folder("compiled")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        logging.warning("compiled programs are not kept: %s (%s); compilation_cache moves the folder", place, error)
        return
    if jax.config.jax_compilation_cache_dir != str(place):
        jax.config.update("jax_compilation_cache_dir", str(place))
        compilation_cache.reset_cache()  # what was compiled before has fixed that there is none
