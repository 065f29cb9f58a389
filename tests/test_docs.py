"""README and docs: commands, keys, files and examples are those of the code."""

import ast
import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import experiments
import pytest
from ml_collections import ConfigDict

import launch
from wsol_jax.config import OPEN_GROUPS, check_config, default_config

ROOT = Path(launch.__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`((?:configs|wsol_jax|docs|benchmarks|tests)/[\w/.*-]*)`")
WITH_EXAMPLES = [file for file in sorted((ROOT / "wsol_jax").rglob("*.py")) if ">>>" in file.read_text()]


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(page.read_text()) if name == language]


def commands() -> list[list[str]]:
    """Every launch command of a fenced block, and every recipe of a table that names a configuration."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    launches = [line[line.index("launch.py") :] for line in lines if "launch.py" in line]
    cells = re.findall(r"`(--config=[^`]*)`", "".join(page.read_text() for page in PAGES))
    return [shlex.split(line)[1:] for line in launches] + [shlex.split(cell) for cell in cells]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_a_command_names_a_configuration_and_keys_that_exist(arguments):
    flags = [one for one in arguments if not one.startswith("--workdir=")]
    config = launch.load(str(ROOT / flags[0].removeprefix("--config=")))
    for override in flags[1:]:
        launch.change(config, override)
    check_config(config, devices=1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page):
    text = page.read_text()
    names = PATH.findall(text) + [name for name in re.findall(r"\]\(([\w/.]+)\)", text) if "http" not in name]
    places = (ROOT, page.parent)
    missing = [name for name in names if not any(any(place.glob(name)) for place in places if name.strip("/"))]
    assert missing == []


def test_the_reference_lists_every_key_with_its_default():
    rows = re.findall(
        r"^\| `([\w.]+)` \| `(.*?)` \|", (ROOT / "docs" / "reference.md").read_text().split("## Keys")[1], re.MULTILINE
    )
    assert len(rows) == len(dict(rows))
    assert {key: ast.literal_eval(value) for key, value in rows} == dict(leaves(default_config()))


def leaves(config: ConfigDict, prefix: str = "") -> list[tuple[str, object]]:
    found = []
    for name, value in config.items():
        if isinstance(value, ConfigDict) and name not in OPEN_GROUPS:
            found += leaves(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value.to_dict() if isinstance(value, ConfigDict) else value))
    return found


def test_readme_is_short_and_has_the_two_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    first = next(line for line in lines if line.endswith("-m pytest"))
    assert first.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements-lock.txt && ")
    assert sum("--config=configs/quickstart.py --workdir=" in line for line in lines) == 1


def test_python_blocks_compile():
    for page in PAGES:
        for block in blocks(page, "python"):
            compile(block, page.name, "exec")


def test_the_examples_of_extending_run(tmp_path):
    method, dataset = ({} for _ in range(2))
    for block, names in zip(blocks(ROOT / "docs" / "extending.md", "python"), (method, dataset), strict=True):
        exec(compile(block, "extending.md", "exec"), names)
    config = experiments.tiny().train
    with config.unlocked():
        config.half = ConfigDict(dict(method["HALF"].defaults))
    assert method["HALF"].make(config, 3).predict is not None
    experiments.write_folder(tmp_path / "classes")
    (tmp_path / "flat").mkdir()
    for file in (tmp_path / "classes").rglob("*.jpg"):
        file.rename(tmp_path / "flat" / f"{file.parent.name}_{file.name}")
    keys = ConfigDict({"dir": str(tmp_path / "flat"), "flat": dict(dataset["FLAT"].defaults)})
    found = dataset["FLAT"].load(keys, 0)
    assert found.classes == ["checks", "dots", "stripes"]
    assert (len(found.splits["train"]), len(found.splits["test"])) == (15, 0)


@pytest.mark.parametrize(
    "command", ["launch.py", "-m wsol_jax.tools.network_sizes", "-m wsol_jax.tools.convert_weights"]
)
def test_a_command_explains_itself(command):
    done = subprocess.run(
        [sys.executable, *command.split(), "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0 and "usage: " in done.stdout, done.stderr


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=[file.relative_to(ROOT).as_posix() for file in WITH_EXAMPLES])
def test_examples_of_docstrings(file):
    module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    assert doctest.testmod(module).failed == 0
