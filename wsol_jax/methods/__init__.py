"""The methods: objectives and predictions, one file each."""

from wsol_jax.methods.acol import ACOL
from wsol_jax.methods.adl import ADL
from wsol_jax.methods.cam import CAM
from wsol_jax.methods.cutmix import CUTMIX
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.grad_cam import GRAD_CAM
from wsol_jax.methods.has import HAS
from wsol_jax.methods.spg import SPG

METHODS: dict[str, Entry] = {
    "cam": CAM,
    "grad_cam": GRAD_CAM,
    "has": HAS,
    "acol": ACOL,
    "spg": SPG,
    "adl": ADL,
    "cutmix": CUTMIX,
}
"""Name of a score-map method -> its entry."""
