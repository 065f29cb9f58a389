"""The stages in the order in which they run."""

from wsol_jax.stages import (
    boxes,
    classifier,
    combine,
    evaluate,
    joint,
    localizer,
    maps,
    objects,
    predict,
    pseudo_boxes,
    read_maps,
    report,
    train,
)
from wsol_jax.stages.stage import Stage

STAGES: dict[str, Stage] = {
    "pseudo_boxes": pseudo_boxes.STAGE,
    "localizer": localizer.STAGE,
    "classifier": classifier.STAGE,
    "train": train.STAGE,
    "joint": joint.STAGE,
    "predict": predict.STAGE,
    "maps": maps.STAGE,
    "read_maps": read_maps.STAGE,
    "boxes": boxes.STAGE,
    "objects": objects.STAGE,
    "evaluate": evaluate.STAGE,
    "report": report.STAGE,
    "combine": combine.STAGE,
}
