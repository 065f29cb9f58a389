"""The tables: the row of each metric and the small print below it."""

from wsol_jax.report.numbers import (
    MAP_COLUMNS,
    Cell,
    box_table,
    main_rows,
    map_table,
    other_metrics,
    other_rows,
    row_name,
    used_columns,
    with_names,
)

MAPS = {
    "max_box_acc": 60.0,
    "max_box_acc/threshold": 0.123,
    "max_box_acc/low": 57.0,
    "max_box_acc/high": 63.0,
    "max_box_acc_v2": 50.0,
    "val_threshold/max_box_acc": 58.0,
    "pseudo_threshold/max_box_acc": 59.0,
    "pseudo_threshold/max_box_acc/threshold": 0.2,
    "val/max_box_acc": 61.0,
    "exact/max_box_acc": 62.0,
    "val_threshold/exact/max_box_acc": 62.5,
    "center_gaussian/max_box_acc": 40.0,
    "center_gaussian/max_box_acc/threshold": 0.4,
    "center_box/gt_known_loc": 45.0,
    "center_box/top1_cls": 70.0,
    "top1_cls": 70.0,
    "train/top1_cls": 99.0,
}


def test_boxes_with_their_intervals():
    rows = box_table({"gt_known_loc": 81.25, "gt_known_loc/low": 78.0, "gt_known_loc/high": 84.0, "top1_loc": 60.0})
    assert rows == {"": {"gt_known_loc": Cell(81.25, "78.0 – 84.0"), "top1_loc": Cell(60.0)}}


def test_rows_are_sorted_by_source():
    rows = box_table(
        {f"{name}gt_known_loc": 1.0 for name in ("center_box/", "train/pseudo/", "psol_code/", "pseudo/", "")}
    )
    assert list(rows) == ["", "psol_code", "pseudo", "train/pseudo", "center_box"]
    assert list(main_rows(rows)) == ["", "pseudo", "center_box"]
    assert list(other_rows(rows)) == ["psol_code", "train/pseudo"]
    assert row_name("train/pseudo", "") == row_name("pseudo/train", "") == "Pseudo boxes · training photos"
    assert list(with_names(rows, "Localizer"))[:2] == ["Localizer", "Localizer · PSOL code’s protocol"]


def test_maps_with_their_thresholds_and_differences():
    rows = map_table(MAPS)
    assert rows[""]["max_box_acc"] == Cell(60.0, "57.0 – 63.0, at 0.123")
    assert rows["val_threshold"]["max_box_acc"] == Cell(58.0, "−2.0")
    assert rows["val_threshold/exact"]["max_box_acc"] == Cell(62.5, "+0.5")
    assert rows["pseudo_threshold"]["max_box_acc"] == Cell(59.0, "−1.0")
    assert list(main_rows(rows)) == ["", "pseudo_threshold", "val_threshold", "center_box", "center_gaussian"]
    assert set(other_rows(rows)) == {"exact", "val", "val_threshold/exact"}


def test_the_best_centred_box_has_a_max_box_acc():
    assert map_table(MAPS)["center_box"] == {"max_box_acc": Cell(45.0)}
    assert "center_box" not in map_table({"piou": 1.0, "center_box/gt_known_loc": 45.0})


def test_without_maps_there_is_no_table_of_them():
    assert map_table({"gt_known_loc": 1.0, "top1_cls": 2.0, "center_box/gt_known_loc": 3.0}) == {}
    assert list(used_columns(MAP_COLUMNS, map_table(MAPS))) == ["max_box_acc_v2", "max_box_acc", "top1_cls"]


def test_other_metrics_are_shown_nowhere_else():
    assert other_metrics({**MAPS, "photos": 1.0, "gt_known_loc/low": 2.0, "wasp_index": 3.0}) == {"wasp_index": 3.0}
