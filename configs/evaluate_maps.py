"""Score maps of another program, evaluated with wsolevaluation's metrics, and with the same without "+1".

    python launch.py --config=configs/evaluate_maps.py --workdir=W --config.maps.dir=M --config.data.dir=D

M holds a map M/IMAGE_ID.npy, floats [224, 224] in [0, 1], for each photo that D lists: image_ids.txt, class_labels.txt,
image_sizes.txt, and localization.txt with boxes. For masks, --config.data.lists.masks=localization.txt and the folder
of the files that it names, below D, --config.data.lists.mask_dir=masks. The photos may be absent; if they are below
D/images, --config.data.lists.photos=True shows them on the page. Takes about two milliseconds per map.
"""

from ml_collections import ConfigDict

from configs.base import get_config as base


def get_config() -> ConfigDict:
    """Return lists in the folder itself, nothing trained."""
    config = base()
    config.stages = "read_maps,evaluate,report"
    config.data.name = "lists"
    config.data.lists.update(train="", test=".", photos=False)
    return config
