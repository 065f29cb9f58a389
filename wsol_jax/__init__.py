"""Weakly supervised object localization in JAX: boxes and maps learned from class labels alone."""

from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax.errors import InputError

__all__ = ["InputError", "run"]


def run(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Runs an experiment: `wsol_jax.stages.run`, or `wsol_jax.ablation.run` for the stages 'ablation'.

    Both are imported when they are needed, so that no part waits for the whole.
    """
    from wsol_jax import ablation, stages

    return (ablation if config.get("stages") == "ablation" else stages).run(config, workdir)
