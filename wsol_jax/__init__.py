"""Weakly supervised object localization in JAX: boxes and maps learned from class labels alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from wsol_jax.errors import InputError

if TYPE_CHECKING:
    from wsol_jax.model.model import Model

__all__ = ["InputError", "load", "run"]


def run(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Run an experiment, or continue one that was stopped.

    In a notebook the log is shown; a program shows it by `logging.basicConfig(level="INFO", force=True)`.

    Args:
        config: as `get_config()` of a file of configs/ returns it.
        workdir: where all results are written; created if it does not exist.

    Returns:
        The contents of metrics.json; of an ablation ROW/NAME -> number.

    Raises:
        InputError: the configuration, the data, the weights or the workdir is wrong, in one line.
    """
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"the configuration is a {type(config).__name__}; expected a ConfigDict, as get_config() returns"
        )
    # imported here: the mathematics imports in a second, a run in several
    from wsol_jax.console import shown_log
    from wsol_jax.runs import ablation
    from wsol_jax.runs import run as runs

    with shown_log():
        return (ablation if config.get("stages") == "ablation" else runs).run(config, workdir)


def load(run: str | Path | None = None, **options: Any) -> "Model":
    """Return a model that predicts boxes, classes and heat maps for any photos.

    Args:
        run: the workdir of a PSOL, -Joint or score-map run.
        **options: `arch` and `weights` of a pretrained classifier instead of a run, and others: see
            `wsol_jax.model.load.load`.

    Raises:
        InputError: there is no finished network in `run`, or the weights are not those of `arch`, in one line.
    """
    from wsol_jax.model.load import load  # imported here for the same reason

    return load(run, **options)
