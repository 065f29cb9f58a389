"""The tables as files: what a spreadsheet and LaTeX read back are the numbers of the page."""

import csv
import io

from wsol_jax.report.numbers import BOX_COLUMNS, box_table, used_columns, with_names
from wsol_jax.report.tables import Table, metrics_table, to_csv, to_latex, write_tables

METRICS = {"gt_known_loc": 81.25, "gt_known_loc/low": 78.0, "gt_known_loc/high": 84.0, "pseudo/top1_cls": 1 / 3}


def table() -> Table:
    rows = with_names(box_table(METRICS), "A_b & 50 %")
    return metrics_table("boxes", used_columns(BOX_COLUMNS, rows), rows)


def test_csv_has_every_digit_and_the_small_print():
    head, ours, pseudo = csv.reader(io.StringIO(to_csv(table())))
    assert head == ["", "GT-known Loc", "GT-known Loc, note", "Top-1 Cls"]
    assert ours == ["A_b & 50 %", "81.25", "78.0 – 84.0", ""]
    assert pseudo == ["Pseudo boxes", "", "", str(1 / 3)]


def test_latex_has_rounded_numbers_and_no_bare_special_character():
    assert to_latex(table()).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r" & GT-known Loc & Top-1 Cls \\",
        r"\midrule",
        r"A\_b \& 50 \% & 81.2 {\footnotesize (78.0 -- 84.0)} &  \\",
        r"Pseudo boxes &  & 0.3 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_tables_without_rows_are_not_written(tmp_path):
    counts = Table("failures", ["", "Right"], [["CAM", 3]])
    assert write_tables(tmp_path, [counts, Table("maps", [""], [])]) == ["failures"]
    assert {path.name for path in tmp_path.iterdir()} == {"failures.csv", "failures.tex"}
    assert r"CAM & 3 \\" in (tmp_path / "failures.tex").read_text()
