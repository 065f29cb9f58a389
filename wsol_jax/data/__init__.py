"""From files to records, from records to batches. The only folder that imports TensorFlow, and only when needed."""

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data import depth, splits
from wsol_jax.data.coco import COCO
from wsol_jax.data.cub import CUB
from wsol_jax.data.folder import FOLDER
from wsol_jax.data.imagenet import IMAGENET
from wsol_jax.data.lists import LISTS
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Dataset
from wsol_jax.data.scenes import SCENES
from wsol_jax.data.tfds import TFDS
from wsol_jax.data.turns import FRAMES
from wsol_jax.data.voc import VOC
from wsol_jax.errors import InputError
from wsol_jax.paths import RemotePath, to_path

MOST_WORKERS = 256  # each keeps two files open

DATASETS: dict[str, Reader] = {
    "cub": CUB,
    "lists": LISTS,
    "folder": FOLDER,
    "imagenet": IMAGENET,
    "scenes": SCENES,
    "tfds": TFDS,
    "coco": COCO,
    "voc": VOC,
}
"""Name of a dataset -> its entry."""


def defaults() -> ConfigDict:
    """Return the keys of `data` with their defaults."""
    keys = ConfigDict(
        dict(
            name="scenes",  # a name in wsol_jax.data.DATASETS: cub, lists, folder, imagenet, coco, voc, tfds, scenes
            dir="",  # the dataset's root
            on_error="skip",  # an unreadable photo is named, counted and left out; 'stop' ends the run instead
            annotation_frame="auto",  # of photos that EXIF turns: 'auto', or all boxes and masks 'stored' or 'upright'
            levels=(0.0, 0.0),  # black and white of photos of more than 8 bits; equal: from all of them together
            exact_decode=True,  # of JPEGs; False: at 1/2, 1/4 or 1/8 where twice the needed size remains
            workers=0,  # processes that draw the photos of the batches, for more than some 3,000 a second; 0: threads
            # what was read of each photo's file, for the next start and for other workdirs: 'auto' in the user's cache
            # folder, or a FILE.parquet, or '' for nothing
            index="auto",
            unchanged=False,  # True: no file that the index knows is compared with it before a stage reads it
            val_per_class=0,  # training photos of each class set aside as 'val', chosen by seed
        )
    )
    for name, reader in DATASETS.items():
        if reader.defaults:
            keys[name] = ConfigDict(dict(reader.defaults))
    return keys


def check_keys(config: ConfigDict) -> None:
    """Raise InputError for a value of `data` that is never valid; a reader checks its own keys when it loads."""
    checks.one_of(config, "name", DATASETS)
    checks.one_of(config, "on_error", ("skip", "stop"))
    checks.one_of(config, "annotation_frame", FRAMES)
    checks.require(config, "levels", depth.are_levels(config.levels), "two finite numbers, black and white")
    checks.not_negative(config, "val_per_class", "workers")
    checks.at_most(config, "workers", MOST_WORKERS)
    is_remote = isinstance(to_path(config.dir), RemotePath)
    checks.require(config, "workers", not (config.workers and is_remote), "0 for photos in a store, read by threads")


def load_dataset(config: ConfigDict, seed: int) -> Dataset:
    """Return a dataset as records, without decoding a photo.

    Args:
        config: the keys of `data`.
        seed: of every draw: validation photos, a folder's test photos, scenes.

    Returns:
        The dataset, every split in a fixed order; 'val' is set aside from 'train' if `config.val_per_class` is not 0.

    Raises:
        InputError: files are missing or malformed; a class has no training photo; `config.workers` has none to read.
    """
    dataset = DATASETS[config.name].load(config, seed)._replace(annotation_frame=config.annotation_frame)
    splits.require_sound(dataset)
    if isinstance(dataset.read, PhotoFiles):
        reading = {"is_exact": config.exact_decode, "workers": config.workers}
        dataset = dataset._replace(read=dataset.read._replace(**reading))
    elif config.workers:
        raise InputError(f"data.workers is {config.workers}, but {config.name!r} has no files of photos; expected 0")
    if config.val_per_class:
        dataset = splits.set_aside(dataset, config.val_per_class, seed)
    return dataset
