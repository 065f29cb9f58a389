"""Files to records, records to batches. The only folder that imports TensorFlow, and only when it is needed."""

from collections.abc import Callable

from ml_collections import ConfigDict

from wsol_jax.data import cub, folder, imagenet, lists, scenes, splits, tfds
from wsol_jax.data.records import Dataset
from wsol_jax.errors import InputError

DATASETS: dict[str, Callable[[ConfigDict, int], Dataset]] = {
    "cub": cub.load,
    "lists": lists.load,
    "folder": folder.load,
    "imagenet": imagenet.load,
    "scenes": scenes.load,
    "tfds": tfds.load,
}


def load_dataset(config: ConfigDict, seed: int) -> Dataset:
    """The dataset that `config` names, as records; no photo is decoded yet.

    Args:
        config: `config.data` of configs/base.py.
        seed: of whatever is drawn: validation photos, a folder's test photos, scenes.

    Returns:
        The dataset, every split in a fixed order; 'val' is set aside from 'train' if `config.val_per_class` is not 0.

    Raises:
        InputError: the name is unknown; something about the files is wrong; a class has no training photo.
    """
    if config.name not in DATASETS:
        raise InputError(
            f"--config.data.name: there is no dataset {config.name!r}; expected one of {', '.join(DATASETS)}"
        )
    dataset = DATASETS[config.name](config, seed)
    splits.require_sound(dataset)
    if config.val_per_class:
        dataset = splits.set_aside(dataset, config.val_per_class, seed)
    return dataset
