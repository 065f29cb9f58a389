"""The notebooks run from top to bottom, as they are, in the kernel of a notebook."""

import json
from pathlib import Path

import compiling
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def executed(file: Path, folder: Path) -> list:
    """The cells of a notebook with their outputs, executed in a folder."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient and ipykernel of the lock file are not installed")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(file, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook.cells


def text(cells: list) -> str:
    """Everything that the cells have printed."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.long
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_from_top_to_bottom(file, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.setenv("XLA_FLAGS", compiling.FLAGS)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
    cells = executed(file, tmp_path)
    shown = text(cells)
    workdir = tmp_path / "runs" / file.stem.removesuffix("_colab")
    assert (workdir / "report" / "index.html").is_file()
    for line in ("predict: started", "photos/s", "finished; boxes: ", "6 photos"):
        assert line in shown, shown
    lines = [line for line in shown.splitlines() if "predict: started" in line]
    assert len(lines) == 1  # the log is shown once


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_kept_without_outputs(file):
    cells = json.loads(file.read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
