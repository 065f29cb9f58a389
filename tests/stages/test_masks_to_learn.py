"""The masks that a localizer learns: regions of the heat maps, and boxes where there is no heat map."""

import json

import experiments
import jax
import numpy as np

from wsol_jax import run
from wsol_jax.devices import make_mesh
from wsol_jax.predictions.table import read_predictions
from wsol_jax.pseudo.regions import bounds, heat_box
from wsol_jax.stages.context import Context
from wsol_jax.stages.masks import filled, masks_to_learn
from wsol_jax.stages.workdir import corrections_file, heat_file, pseudo_boxes_file


def context_of(workdir, **changes):
    config = experiments.tiny(stages="pseudo_boxes", **changes)
    run(config, workdir)
    dataset = experiments.scenes()
    return Context(workdir, dataset, config.seed, make_mesh(jax.devices()), {"pseudo_boxes": config.pseudo})


def test_a_filled_box_covers_shares_of_cells():
    mask = filled(np.array([0.125, 0.25, 0.75, 1.0]), 4)
    np.testing.assert_allclose(mask, np.outer([0, 1, 1, 1], [0.5, 1, 1, 0]))


def test_regions_are_those_behind_the_boxes_and_corrected_boxes_are_filled(tmp_path):
    context = context_of(tmp_path / "w", **{"pseudo.threshold_levels": (0.0,)})
    heat = np.load(heat_file(context.workdir, "train")).astype(np.float32)
    paths = [record.path for record in context.dataset.splits["train"]]
    names = {"corrected": [paths[1]], "left_out": [paths[0]]}
    corrections_file(context.workdir).write_text(json.dumps(names))
    records = context.dataset.splits["train"]
    splits = context.dataset.splits | {"train": [records[0]._replace(is_empty=True), *records[1:]]}
    masks = masks_to_learn(context._replace(dataset=context.dataset._replace(splits=splits)))
    assert len(masks) == len(paths) - 1
    for mask, of_photo in zip(masks[1:], heat[2:], strict=True):
        cut = heat_box(of_photo, "nearest_code", 0)
        assert mask.any() != cut.fallback
        np.testing.assert_allclose(bounds(mask > 0) if mask.any() else [0, 0, 1, 1], cut.box)
    boxes = read_predictions(pseudo_boxes_file(context.workdir, "train"), records, ("box",)).box
    np.testing.assert_allclose(masks[0], filled(boxes[1]))


def test_true_boxes_are_filled(tmp_path):
    context = context_of(tmp_path / "w", **{"pseudo.source": "truth"})
    masks = masks_to_learn(context)
    expected = [filled(record.boxes[0]) for record in context.dataset.splits["train"]]
    np.testing.assert_allclose(masks, expected, atol=1e-4)
