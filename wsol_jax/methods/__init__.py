"""The methods: what is learned and what is predicted, one file each."""

from collections.abc import Callable

from ml_collections import ConfigDict

from wsol_jax.methods.acol import acol
from wsol_jax.methods.adl import adl
from wsol_jax.methods.cam import cam
from wsol_jax.methods.cutmix import cutmix
from wsol_jax.methods.grad_cam import grad_cam
from wsol_jax.methods.has import has
from wsol_jax.methods.method import Method
from wsol_jax.methods.spg import spg

METHODS: dict[str, Callable[[ConfigDict, int], Method]] = {
    "cam": cam,
    "grad_cam": grad_cam,
    "has": has,
    "acol": acol,
    "spg": spg,
    "adl": adl,
    "cutmix": cutmix,
}
"""The score-map methods: (the keys of `train` in configs/base.py, how many classes) -> method."""
