"""Weakly supervised object localization in JAX: boxes and maps learned from class labels alone."""

from wsol_jax.errors import InputError
from wsol_jax.stages import run

__all__ = ["InputError", "run"]
