"""The masks that a localizer learns: regions of the heat maps, and boxes where there is no heat map."""

import json

import experiments
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from wsol_jax import arrays, run
from wsol_jax.data.kept_views import kept_views, mask_in_view
from wsol_jax.devices import make_mesh
from wsol_jax.errors import InputError
from wsol_jax.methods.mask_boxes import GRID
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.regions import bounds, heat_box
from wsol_jax.stages import localizer, work
from wsol_jax.stages.context import Context
from wsol_jax.stages.masks import filled, masks_to_learn
from wsol_jax.stages.workdir import corrections_file, heat_file, network_folder, pseudo_boxes_file
from wsol_jax.training.log import read_log


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
    records = context.dataset.splits["train"]
    boxes = read_predictions(pseudo_boxes_file(context.workdir, "train"), records, ("box",))
    empty, corrected, *others = np.flatnonzero(~boxes.fallback).tolist()
    names = {"corrected": [records[corrected].path], "left_out": [records[empty].path]}
    corrections_file(context.workdir).write_text(json.dumps(names))
    marked = [record._replace(is_empty=i == empty) for i, record in enumerate(records)]
    splits = context.dataset.splits | {"train": marked}
    learned, masks = masks_to_learn(context._replace(dataset=context.dataset._replace(splits=splits)))
    masks = list(masks)
    assert [record.path for record in learned] == [records[i].path for i in (corrected, *others)] and others
    np.testing.assert_allclose(masks[0], filled(boxes.box[corrected]))
    for mask, i in zip(masks[1:], others, strict=True):
        np.testing.assert_allclose(bounds(mask > 0), heat_box(heat[i], "nearest_code", 0).box)


def test_true_boxes_are_filled(tmp_path):
    context = context_of(tmp_path / "w", **{"pseudo.source": "truth"})
    _, masks = masks_to_learn(context)
    expected = [filled(record.boxes[0]) for record in context.dataset.splits["train"]]
    np.testing.assert_allclose(list(masks), expected, atol=1e-4)


@pytest.fixture(scope="module")
def with_whole_images(tmp_path_factory):
    """Pseudo boxes of twelve photos, of which the first and the last have no region."""
    context = context_of(tmp_path_factory.mktemp("w"))
    file, records = pseudo_boxes_file(context.workdir, "train"), context.dataset.splits["train"]
    fallback = np.isin(np.arange(len(records)), (0, len(records) - 1))
    write_predictions(file, records, read_predictions(file, records)._replace(fallback=fallback))
    return context


def mask_localizer(**changes) -> ConfigDict:
    keys = {"head": "mask", "freeze": "conv_head", "arch": "efficientnet_lite0", **changes}
    config = experiments.tiny(**{f"localizer.{key}": value for key, value in keys.items()}).localizer
    with config.unlocked():
        config.arch_kwargs = ConfigDict(experiments.NARROW["efficientnet_lite0"])
    return config


def test_photos_without_a_region_are_counted_and_not_learned(with_whole_images, caplog):
    context, records = with_whole_images, with_whole_images.dataset.splits["train"]
    caplog.set_level("INFO")
    learned, masks = masks_to_learn(context)
    assert learned == records[1:-1] and len(list(masks)) == 10
    localizer.run(mask_localizer(epochs=1.0), context)
    assert [line["step"] for line in read_log(network_folder(context.workdir, "localizer"))] == [1, 2]  # of 8 of 10
    assert "localizer: 2 training photos have no region and are left out" in caplog.text


def test_targets_of_many_views_are_in_a_mapped_file(with_whole_images, monkeypatch):
    context, config = with_whole_images, mask_localizer(views=3)
    in_memory = localizer.view_targets(config, context)
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    mapped = localizer.view_targets(config, context)
    masks = list(masks_to_learn(context)[1])
    views = kept_views(context.seed, range(len(masks)), 3)
    expected = [mask_in_view(masks[view.index], view, GRID) for view in views]
    np.testing.assert_array_equal(mapped, np.array(expected, np.float32))
    np.testing.assert_array_equal(mapped, in_memory)
    assert is_mapped(mapped) and not is_mapped(in_memory)


def is_mapped(array: np.ndarray) -> bool:
    return isinstance(array, np.memmap) or (isinstance(array.base, np.ndarray) and is_mapped(array.base))


def test_the_targets_of_a_finished_training_are_not_built_again(tmp_path, monkeypatch):
    context = context_of(tmp_path / "w", **{"pseudo.source": "truth"})
    config = mask_localizer(epochs=0.5)
    localizer.run(config, context)
    monkeypatch.setattr(localizer, "masks_to_learn", None)
    localizer.run(config, context)
    with pytest.raises(TypeError):
        localizer.run(mask_localizer(epochs=3.0), context)


def test_a_dry_run_lists_the_targets(with_whole_images, monkeypatch):
    config = mask_localizer()
    size = len(with_whole_images.dataset.splits["train"]) * config.views * GRID * GRID * 4
    assert localizer.work(config, with_whole_images)[0].memory["targets"] == size
    monkeypatch.setattr(work, "IN_MEMORY", size - 1)
    assert localizer.work(config, with_whole_images)[0].memory["targets (disk)"] == size


def test_a_training_continues_by_the_number_of_photos_that_are_learned(with_whole_images):
    """Of 10 photos, an epoch has 1.25 steps; of 12, the rate would be divided after the two steps that are done."""
    was, now = (mask_localizer(decay_every=1.0, epochs=epochs).to_dict() for epochs in (1.0, 2.0))
    assert "the rates of its 1.0 epochs depend" in localizer.extends(was, now, with_whole_images)
    assert localizer.extends(was | {"head": "spatial"}, now | {"head": "spatial"}, with_whole_images) == ""


def test_no_region_at_all_is_an_error_in_one_line(tmp_path):
    context = context_of(tmp_path / "w")
    file, records = pseudo_boxes_file(context.workdir, "train"), context.dataset.splits["train"]
    write_predictions(file, records, read_predictions(file, records)._replace(fallback=np.ones(len(records), bool)))
    with pytest.raises(InputError, match="pseudo boxes of all 12 training photos are whole images; expected regions"):
        masks_to_learn(context)
