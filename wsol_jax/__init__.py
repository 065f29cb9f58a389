"""Weakly supervised object localization in JAX: boxes and maps learned from class labels alone."""

from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax.errors import InputError

__all__ = ["InputError", "run"]


def run(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Runs an experiment: `wsol_jax.stages.run`, imported when it is needed, so that no part waits for the whole."""
    from wsol_jax import stages

    return stages.run(config, workdir)
