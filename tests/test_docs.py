"""README and docs: commands, keys, files and examples are those of the code."""

import ast
import doctest
import importlib.util
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import experiments
import pytest
import test_floors
from jax._src.clusters.slurm_cluster import SlurmCluster
from ml_collections import ConfigDict

import launch
from wsol_jax import run
from wsol_jax.__main__ import COMMANDS
from wsol_jax.config import OPEN_GROUPS, check_config, default_config
from wsol_jax.tools.distributed import split_flags

ROOT = Path(launch.__file__).parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:configs|wsol_jax|docs|benchmarks|tests)/[\w/.]*|launch\.py")
DOTTED = re.compile(r"[a-z_]\w*(?:\.\w+)+(?==|$)")
SUFFIXES = (
    "parquet",
    "csv",
    "json",
    "jsonl",
    "npy",
    "npz",
    "py",
    "pth",
    "safetensors",
    "html",
    "md",
    "yaml",
    "tex",
    "pdf",
    "png",
    "txt",
    "lock",
)
LINE = re.compile(r'The line in `(\w+)` of `([\w/.]+)`[^`]*: `"(\w+)": ([\w.]+)`')
WITH_EXAMPLES = [file for file in sorted((ROOT / "wsol_jax").rglob("*.py")) if ">>>" in file.read_text()]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for name, text in FENCED.findall(page.read_text()) if name == language]


def inline_code(page: Path) -> list[str]:
    """The code in backticks outside of fenced blocks."""
    return CODE.findall(FENCED.sub("", page.read_text()))


def joined_lines(page: Path, language: str) -> list[str]:
    """The commands of every fenced block of a language, one a line."""
    joined = [block.replace("\\\n", " ") for block in blocks(page, language)]
    return [line for block in joined for line in block.splitlines() if not line.startswith("#")]


def shell_lines() -> list[str]:
    """The commands of every fenced block that consists of commands alone, one a line."""
    return [line for page in PAGES for line in joined_lines(page, "sh")]


def docstring_lines() -> list[str]:
    """The launch commands in the docstrings of configs/, one a line."""
    texts = [ast.get_docstring(ast.parse(file.read_text())) for file in sorted((ROOT / "configs").glob("*.py"))]
    joined = [re.sub(r"\\\n\s*", "", text) for text in texts]
    return [
        line.strip() for text in joined for line in text.splitlines() if line.strip().startswith("python launch.py")
    ]


def launches() -> list[list[str]]:
    """The arguments of every launch command of a page or a docstring, and of every recipe of a table."""
    lines = [*(line for line in shell_lines() if "launch.py" in line), *docstring_lines()]
    cells = [code for page in PAGES for code in inline_code(page) if code.startswith("--config=")]
    scripts = [line for page in PAGES for line in joined_lines(page, "bash") if "python launch.py" in line]
    lines += [line.rstrip(' "&').replace("$i", "0") for line in scripts]
    arguments = [shlex.split(line.partition("launch.py")[2]) for line in lines]
    arguments = [split_flags(each)[1] for each in arguments + [shlex.split(cell) for cell in cells]]
    return [each for each in arguments if each != ["--help"]]


@pytest.mark.parametrize("arguments", launches(), ids=" ".join)
def test_a_command_has_a_configuration_and_keys_that_exist(arguments):
    config, overrides = None, []
    for argument in arguments:
        if argument.startswith("--config="):
            config = launch.load(argument.removeprefix("--config="))
        elif not argument.startswith(("--workdir=", "--dry_run")):
            overrides.append(argument)
    for override in overrides:
        launch.change(config, override)
    check_config(config, devices=1)


def test_other_commands_exist():
    """Benchmarks have every flag that a command gives; of an installed package only the name is checked."""
    for line in shell_lines():
        words = shlex.split(line)
        file = next((word for word in words if word.startswith("benchmarks/")), None)
        if file:
            flags = re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', (ROOT / file).read_text())
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {
                f"--{flag}" for flag in flags
            }
        elif "-m" in words:
            module = words[[i for i, word in enumerate(words) if word == "-m"][-1] + 1]  # .venv comes of `-m venv`
            assert importlib.util.find_spec(module), line
            if module == "wsol_jax":
                assert words[words.index(module) + 1] in COMMANDS, line
        else:
            assert "launch.py" in line, line


OVERRIDES = [(page, code) for page in PAGES for code in inline_code(page) if code.startswith("--config.")]


@pytest.mark.parametrize(("page", "code"), OVERRIDES, ids=[code for _, code in OVERRIDES])
def test_an_override_in_the_text_is_of_a_key_that_exists(page, code):
    if page.name == "extending.md" or code == "--config.KEY=VALUE":
        return  # its keys are those of the examples, which run below
    config = default_config()
    for override in shlex.split(code):
        key, equals, _ = override.removeprefix("--config.").partition("=")
        if equals:
            launch.change(config, override)
        else:
            launch.current_value(config, key, override, is_group=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page):
    text = page.read_text()
    names = [name for code in inline_code(page) for name in PATH.findall(code)]
    assert [name for name in names if not (ROOT / name).exists()] == []
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    titles = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", text, re.M)
    }
    for link in links:
        place, _, anchor = link.partition("#")
        assert (page.parent / place).exists() and (not anchor or anchor in titles), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_dotted_name_is_a_key_or_a_name_of_the_package(page):
    for name in filter(None, (DOTTED.match(code) for code in inline_code(page))):
        if name[0].rpartition(".")[2] not in SUFFIXES:
            assert is_key(name[0]) or is_importable(name[0]) or is_importable(f"wsol_jax.{name[0]}"), name[0]


def is_key(name: str) -> bool:
    config = default_config()
    try:
        return launch.current_value(config, name, name, is_group=True) is not None
    except launch.InputError:
        return False


def is_importable(name: str) -> bool:
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


def test_the_reference_lists_every_key_with_its_default():
    listed = dict(documented())
    assert len(listed) == len(list(documented()))
    assert listed == dict(leaves(default_config()))


def documented() -> Iterator[tuple[str, object]]:
    """(key, default) of the tables: a row is a key, its default or those of several groups, and its meaning."""
    groups: list[str] = []
    for line in (DOCS / "reference.md").read_text().partition("\n## Keys\n")[2].splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        if line.startswith("| key "):
            groups = [] if cells[1] == "default" else cells[1:-1]
        elif line.startswith("| `"):
            names = [f"{group}.{cells[0]}" for group in groups] or [cells[0]]
            yield from zip(names, map(ast.literal_eval, cells[1:-1]), strict=True)


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(key, value) of every key; a group whose keys are not fixed is one value."""
    for name, value in config.items():
        if isinstance(value, ConfigDict) and name not in OPEN_GROUPS:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value.to_dict() if isinstance(value, ConfigDict) else value


SLURM = next(block for block in blocks(DOCS / "scaling.md", "bash") if "#SBATCH" in block)


@pytest.mark.parametrize("code", [0, 1, 2, 75])
def test_the_job_of_slurm_ends_with_the_code_of_the_run_and_is_queued_again_after_sigterm(code, tmp_path):
    for name, content in {"srun": f"exit {code}", "scontrol": f'echo "$@" > {tmp_path}/called'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{content}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "12"}
    assert subprocess.run(["bash", "-c", SLURM], env=environment, check=False).returncode == code
    called = tmp_path / "called"
    assert (called.read_text() if called.exists() else "") == ("requeue 12\n" if code == 75 else "")


def test_slurm_gives_each_process_the_gpu_that_jax_takes(monkeypatch):
    """JAX takes the GPU of the process's number on its node, so that all have to see all of them."""
    monkeypatch.setenv("SLURM_LOCALID", "5")
    assert SlurmCluster.get_local_process_id() == 5
    counts = dict(re.findall(r"--(\S+)-per-node=(\d+)", SLURM))
    assert counts["gpus"] == counts["ntasks"] and "--gpus-per-task" not in SLURM


def test_architecture_has_the_floors():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (DOCS / "architecture.md").read_text(), re.MULTILINE)
    assert [tuple(CODE.findall(row)) for row in rows] == list(test_floors.FLOORS)


def test_readme_is_short_and_has_the_two_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    install = "python3 -m venv .venv && .venv/bin/pip install -q -r requirements-lock.txt && .venv/bin/python "
    assert next(line for line in lines if line.endswith("-m pytest")) == f"{install}-m pytest"
    assert lines.count(f"{install}launch.py --config=configs/quickstart.py --workdir=runs/quickstart") == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_not_too_long(page):
    wide = [line for line in page.read_text().splitlines() if len(line) > 120]
    assert [line for line in wide if not line.startswith(("|", "python3 -m venv"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile(page):
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


def test_the_examples_of_extending_run_together(tmp_path, monkeypatch):
    """Every block is a new file, every line that a page names is added to its dict, and one run uses all of them."""
    page = DOCS / "extending.md"
    additions = LINE.findall(page.read_text())
    assert [place for place, *_ in additions] == ["BACKBONES", "METHODS", "DATASETS", "STAGES"]
    for block, (place, file, name, value) in zip(blocks(page, "python"), additions, strict=True):
        module = ModuleType(f"extending_{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses need it by its name
        exec(compile(block, page.name, "exec"), vars(module))
        owner = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        monkeypatch.setitem(getattr(owner, place), name, getattr(module, value.rpartition(".")[2]))
    config = default_config()
    for override in (code for code in inline_code(page) if re.match(r"--config\.[\w.]+=", code)):
        launch.change(config, override)
    launch.change(config, "--config.train.arch_kwargs.widths=(4, 4, 6, 8)")
    config.data.dir = str(write_flat(tmp_path))
    config.train.update(size=64, batch_size=8, epochs=1.0)
    config.train.dawsol.samples = 2
    config.predict.batch_size, config.evaluate.resamples = 8, 20
    metrics = run(config, tmp_path / "w")
    assert metrics["photos"] == 6
    areas = json.loads((tmp_path / "w" / "areas.json").read_text())
    assert areas == {"test": pytest.approx(0.5, abs=0.5)} and round(areas["test"], 2) == areas["test"]


def write_flat(folder: Path) -> Path:
    """Photos named CLASS_NUMBER.SUFFIX in one folder: five of each of three classes."""
    experiments.write_folder(folder / "classes")
    (folder / "flat").mkdir()
    for file in (folder / "classes").rglob("*.jpg"):
        file.rename(folder / "flat" / f"{file.parent.name}_{file.name}")
    return folder / "flat"


HELP = sorted({line for line in shell_lines() if line.endswith(" --help")})


@pytest.mark.parametrize("line", HELP)
def test_a_command_that_needs_no_data_runs(line):
    command = [sys.executable, *shlex.split(line)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "usage: " in done.stdout


def test_help_of_every_command_is_documented():
    assert [shlex.split(line)[1:-1] for line in HELP] == [
        ["-m", "wsol_jax", "convert"],
        ["-m", "wsol_jax", "networks"],
        ["launch.py"],
    ]


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=[file.relative_to(ROOT).as_posix() for file in WITH_EXAMPLES])
def test_examples_of_docstrings(file):
    module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    results = doctest.testmod(module)
    assert results.failed == 0 < results.attempted
