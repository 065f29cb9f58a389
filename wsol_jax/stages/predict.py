"""The stage `predict`: boxes and classes of every photo of some splits, by PSOL's networks or by score maps."""

from pathlib import Path

from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.methods.drawings import check_drawing
from wsol_jax.paths import to_path
from wsol_jax.stages import predict_boxes, predict_maps
from wsol_jax.stages.context import Context, chosen_splits
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.work import Work, predict_work
from wsol_jax.stages.workdir import identity_file


def defaults() -> ConfigDict:
    """Return the keys of `predict` with their defaults."""
    return ConfigDict(
        dict(
            splits="test",  # comma-separated; or 'all'
            batch_size=64,
            # Resize 256, CenterCrop 224 (in this ratio for every size); or 'resize', whole photos, as for score maps
            test_geometry="center_crop",
            mirror=False,  # average a localizer's box with that of the mirror image
            ten_crop=False,  # classes from four corners, the centre and their mirror images; boxes are of one crop
            localizer_from="",  # the workdir of a run on any photos, whose localizer replaces ours
            boxes_from="",  # FILE.parquet: boxes of another localizer, instead of ours
            classes_from="",  # FILE.parquet: top-5 of another classifier, instead of ours
            grad_cam_from="",  # the workdir of a PSOL run: maps are Grad-CAM of its classifier, at `grad_cam_stage`
            grad_cam_stage="",  # '' is the last one
            maps="cam",  # the method's own score maps; or 'bagcam' | 'grad_cam_pp' | 'layercam' | 'score_cam'
            maps_stage="",  # the stage that they are drawn of; '' is the last one
            bagcam_guided=False,  # BagCAM: negative gradients are cut at every ReLU
            box_threshold=0.2,  # of a map's maximum: the box is that of the largest region above it
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Raise InputError for a value that is never valid."""
    checks.one_of(config, "test_geometry", ("center_crop", "resize"))
    checks.batch_size(config, devices)
    checks.memory(config, "batch_size", config.batch_size * 32**2 * 3 * 4, "a batch of the smallest photos")
    check_drawing(config, "maps", "maps_stage", "bagcam_guided")
    unused = config.grad_cam_stage and config.maps != "cam"
    checks.require(config, "grad_cam_stage", not unused, "'' unless maps is 'cam'; maps_stage is for the others")
    checks.fraction(config, "box_threshold")


def run(config: ConfigDict, context: Context) -> None:
    """Write predictions/: tables of boxes and classes, logits, and for score maps the maps themselves."""
    (predict_maps if _has_score_maps(config, context) else predict_boxes).run(config, context)


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if a split, a file or a run that the configuration names cannot be used."""
    (predict_maps if _has_score_maps(config, context) else predict_boxes).check(config, context)


def files(config: ConfigDict) -> dict[str, Path]:
    """Return the files outside of the workdir that the stage reads, by name; for another run, its fingerprint."""
    tables = {file: to_path(file) for file in (config.boxes_from, config.classes_from) if file}
    runs = {"localizer": config.localizer_from, "classifier": config.grad_cam_from}
    fingerprints = [identity_file(to_path(workdir), stage) for stage, workdir in runs.items() if workdir]
    return tables | {str(file): file for file in fingerprints}


def work(config: ConfigDict, context: Context) -> list[Work]:
    """Return the predictions of each network of this run, see `Stage`; other runs' networks are left out."""
    changes = {"localizer": {"mirror": config.mirror}, "classifier": {"ten_crops": config.ten_crop}}
    splits = chosen_splits(config.splits, context)
    return [
        predict_work(stage, keys, config, splits, context, **changes.get(stage, {}))
        for stage, keys in context.configs.items()
    ]


def _has_score_maps(config: ConfigDict, context: Context) -> bool:
    return bool(config.grad_cam_from) or "train" in context.configs


STAGE = Stage(
    key="predict",
    defaults=defaults,
    check_keys=check_keys,
    inputs=("localizer", "classifier", "joint", "train"),
    outputs=("predictions",),
    run=run,
    check=check,
    instead={
        "localizer": ("boxes_from", "localizer_from"),
        "classifier": ("classes_from",),
        "train": ("grad_cam_from",),
    },
    files=files,
    without_effect=("batch_size",),
    work=work,
    together=True,
)
