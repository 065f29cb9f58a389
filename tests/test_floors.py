"""Who may import whom: every import of the package points to a lower floor, read from the code with `ast`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (  # from the top; a place imports itself and the places below it
    ("launch", "configs", "tools"),
    ("runs",),
    ("config", "recipes"),
    ("model",),
    ("stages",),
    ("report",),
    ("pseudo", "training"),
    ("evaluation",),
    ("predictions", "methods"),
    ("losses", "weights"),
    ("backbones",),
    ("data",),
    (
        "arrays",
        "boxes",
        "checks",
        "compilation",
        "console",
        "devices",
        "errors",
        "files",
        "paths",
        "processes",
        "progress",
        "threads",
    ),
)
FLOOR = {place: number for number, places in enumerate(FLOORS) for place in places}
FILES = sorted((ROOT / "wsol_jax").rglob("*.py"))
GROUND = len(FLOORS) - 1


def place_of(module: str) -> str:
    """'stages' of 'wsol_jax.stages.train', '' of the package itself."""
    return [*module.split("."), ""][1]


def imported(file: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "wsol_jax":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules |= set(names) if node.module == "wsol_jax" else {node.module}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name.startswith("wsol_jax")}
    return modules


@pytest.mark.parametrize("file", FILES, ids=[file.relative_to(ROOT).as_posix() for file in FILES])
def test_no_import_points_upwards(file):
    here = place_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
    if here in ("__init__", "__main__"):
        return
    for module in imported(file):
        place = place_of(module)
        assert FLOOR[place] > FLOOR[here] or place == here or FLOOR[here] == FLOOR[place] == GROUND, module


def test_every_place_has_a_floor():
    places = {path.stem for path in (ROOT / "wsol_jax").iterdir() if path.name[0] not in "_."}
    assert places | {"launch", "configs"} == set(FLOOR)


def test_no_file_is_longer_than_a_reader_can_hold():
    long = {file.name: lines for file in FILES if (lines := len(file.read_text().splitlines())) > 300}
    assert long == {}
