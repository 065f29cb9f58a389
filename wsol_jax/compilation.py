"""The cache of compiled programs: a second start of the same networks compiles nothing."""

import jax
from absl import logging
from jax.experimental.compilation_cache import compilation_cache

from wsol_jax.files import user_folder
from wsol_jax.paths import RemotePath, to_path

AUTO = "auto"


def keep_compiled(folder: str) -> None:
    """Start to keep compiled programs in a folder, unless this process keeps them already.

    Args:
        folder: 'auto' for `wsol_jax` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache), '' for none; it may be
            in a store. A folder that JAX was given by itself, e.g. by $JAX_COMPILATION_CACHE_DIR, has priority over
            'auto'.

    Raises:
        InputError: there is no such kind of store. A folder that cannot be used is only a warning.
    """
    if not folder or (folder == AUTO and jax.config.jax_compilation_cache_dir):
        return
    place = to_path(folder).expanduser() if folder != AUTO else user_folder("compiled")
    try:
        place.mkdir(parents=True, exist_ok=True)
        place.is_dir()  # a store has no folders to make, but answers or refuses
    except (OSError, RuntimeError) as error:
        logging.warning("compiled programs are not kept: %s (%s); compilation_cache moves the folder", place, error)
        return
    if isinstance(place, RemotePath):
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # XLA's own, on GPUs, knows no stores
    if jax.config.jax_compilation_cache_dir != str(place):
        jax.config.update("jax_compilation_cache_dir", str(place))
        compilation_cache.reset_cache()  # what was compiled before has fixed that there is none
