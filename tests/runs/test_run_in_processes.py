"""PSOL, its heads on kept features, C2AM, DA-WSOL, BagCAM and boxes of score maps in two processes, some in four.

All have the results of one process with as many devices.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import compiling
import experiments
import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
from ml_collections import ConfigDict

import wsol_jax
from wsol_jax.errors import InputError
from wsol_jax.stages import pseudo_boxes
from wsol_jax.tools.distributed import run_together
from wsol_jax.training.log import WATCH, read_log

pytestmark = pytest.mark.long

RUNS = {"psol": "base", "heads": "psol_birds25", "dawsol": "dawsol_birds25"}
DRAWN, OF_MAPS = "bagcam", "cam"  # of DA-WSOL's network: other maps, and pseudo boxes of its maps
CARRIED_OUT = {2: (*RUNS, DRAWN, OF_MAPS), 4: ("heads",)}  # in so many processes
OF_TRAINED = shutil.ignore_patterns("predictions", "metrics.json", "curves.json", "results", "report")

WORK = """
    import sys
    from pathlib import Path
    import jax

    jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    import test_run_in_processes

    test_run_in_processes.work(Path(sys.argv[4]), sys.argv[5:])
    jax.distributed.shutdown()
"""


FAILS = """
    import sys
    import test_run_in_processes

    sys.exit(test_run_in_processes.fail(sys.argv[1:]))
"""


def config(name: str) -> ConfigDict:
    keys = experiments.tiny(RUNS.get(name, RUNS["dawsol"]), **{"data.name": "scenes"})
    for part in (keys.pseudo, keys.pseudo.c2am, keys.localizer, keys.classifier, keys.train):
        part.update(arch="vgg_gap")
        part.arch_kwargs = ConfigDict(tiny.NARROW["vgg_gap"] | dict(stride=16))
    for part in (keys.localizer, keys.classifier, keys.train):
        part.update(learning_rate=1e-4, new_from="", freeze="")
    if name == "heads":
        keys.stages = "pseudo_boxes,localizer,predict,evaluate"
        keys.localizer.freeze = keys.pseudo.c2am.freeze = "relu5_1"
        keys.localizer.views, keys.pseudo.c2am.layers = 2, ""
        with keys.unlocked():
            keys.pseudo.views = ConfigDict({"a": {"size": 64}, "b": {"size": 96}, "c2am": {"source": "c2am"}})
    else:
        keys.train.epochs = 2 * keys.train.epochs
        keys.train.dawsol.update(start_epoch=-1, samples=2)  # from the first step, with enough pixels in a photo
        keys.train.watch = 4
    if name == DRAWN:
        keys.predict.maps = DRAWN
    return keys


def of_maps(network: Path) -> ConfigDict:
    """Pseudo boxes alone, of the maps of DA-WSOL's network."""
    keys = {"data.name": "scenes", "stages": "pseudo_boxes", "pseudo.source": "cam", "pseudo.cam_from": str(network)}
    return experiments.tiny(**keys)


def work(folder: Path, names: Sequence[str]) -> None:
    """Carry out runs from the start, and from networks that one process has trained."""
    for name in names:
        if name in RUNS:
            wsol_jax.run(config(name), folder / name)
        keys = of_maps(folder / "dawsol_trained") if name == OF_MAPS else config(name)
        wsol_jax.run(keys, folder / f"{name}_trained")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    for name in RUNS:
        wsol_jax.run(config(name), folder / name)
    shutil.copytree(folder / "dawsol", folder / DRAWN, ignore=OF_TRAINED)
    wsol_jax.run(config(DRAWN), folder / DRAWN)
    wsol_jax.run(of_maps(folder / "dawsol"), folder / OF_MAPS)
    return folder


@pytest.fixture(scope="module")
def in_processes(one, tmp_path_factory):
    """A function of a number of processes that returns the folder of their runs, which are carried out once."""

    @cache
    def carried_out(count: int) -> Path:
        folder, names = tmp_path_factory.mktemp("several"), CARRIED_OUT[count]
        for name in {*names} - {OF_MAPS}:
            shutil.copytree(one / name, folder / f"{name}_trained", ignore=OF_TRAINED)
        here, flags, address = Path(__file__).parent, compiling.flags(8 // count), tiny.free_address()
        started = [
            tiny.python(WORK, address, count, i, folder, *names, cwd=here, XLA_FLAGS=flags) for i in range(count)
        ]
        for process in started:
            _, errors = process.communicate(timeout=900)
            assert process.returncode == 0, errors.decode()
        return folder

    return carried_out


@pytest.fixture
def folders(request, one, in_processes):
    """The folders of one process, and of `request.param` processes."""
    return one, in_processes(request.param)


def of_runs(arguments: str, cases: Iterable[tuple]) -> pytest.MarkDecorator:
    """Parametrise a test by folders and the cases, which begin with the name of a run, of runs that are in them."""
    cases = [(count, *case) for case in cases for count, names in CARRIED_OUT.items() if case[0] in names]
    return pytest.mark.parametrize(f"folders, {arguments}", cases, indirect=["folders"])


EACH = [(name,) for name in RUNS]


def metrics(workdir: Path) -> dict[str, float]:
    return json.loads((workdir / "metrics.json").read_text())


@of_runs("name", EACH)
def test_there_are_the_same_files_and_no_unfinished_ones(name, folders):
    one, two = folders
    assert experiments.files(one / name) == experiments.files(two / name) == experiments.files(two / f"{name}_trained")
    assert not [path for path in two.rglob("*") if ".part" in path.name or "tmp" in path.name]


@of_runs("name", [("psol",), ("heads",)])
def test_pseudo_boxes_are_the_same(name, folders):
    tables = [pq.read_table(folder / name / "pseudo_boxes" / "boxes.parquet").to_pydict() for folder in folders]
    assert tables[0]["image"] == tables[1]["image"]
    for column in ("x0", "y0", "x1", "y1", "fallback"):
        assert tables[0][column] == tables[1][column], column
    np.testing.assert_allclose(tables[0]["score"], tables[1]["score"], atol=1e-6)


TRAINED = [
    ("psol", "localizer", 2),
    ("psol", "classifier", 2),
    ("heads", "pseudo_boxes/c2am", 2),
    ("heads", "localizer", 4),  # two views of each photo
    ("dawsol", "model", 4),
]


@of_runs("name, stage, steps", TRAINED)
def test_the_first_losses_agree(name, stage, steps, folders):
    losses = [[line["loss"] for line in read_log(folder / name / stage)] for folder in folders]
    assert len(losses[0]) == steps
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@of_runs("name", [*EACH, (DRAWN,)])
def test_a_trained_network_has_the_same_predictions_bit_for_bit(name, folders):
    one, two = (folder / suffix for folder, suffix in zip(folders, (name, f"{name}_trained"), strict=True))
    for file in sorted((one / "predictions").iterdir()):
        assert file.read_bytes() == (two / "predictions" / file.name).read_bytes(), file.name
    assert metrics(one) == metrics(two)


@of_runs("name", [(OF_MAPS,)])
def test_boxes_and_heat_of_a_networks_maps_are_the_same_bit_for_bit(name, folders):
    one, two = (folder / suffix for folder, suffix in zip(folders, (name, f"{name}_trained"), strict=True))
    files = [path.relative_to(one) for path in (one / "pseudo_boxes").iterdir()]
    assert len(files) == 6
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


@of_runs("name", [("dawsol",)])
def test_the_same_is_watched(name, folders):
    one, two = ({line["step"]: line for line in read_log(folder / name / "model", WATCH)} for folder in folders)
    assert list(one) == list(two) == [0, 2, 3, 4]
    for step, line in one.items():
        assert two[step] == pytest.approx(line, rel=1e-3), step


@of_runs("name", EACH)
def test_metrics_of_networks_trained_anew_agree(name, folders):
    one, two = (metrics(folder / name) for folder in folders)
    assert one.keys() == two.keys()
    for metric in one:
        if metric.endswith(("photos", "maps", "photos_with_boxes", "maps_with_boxes")):
            assert one[metric] == two[metric], metric
        else:
            np.testing.assert_allclose(two[metric], one[metric], atol=0.01, err_msg=metric)


def fail(flags: list[str]) -> int:
    """Run in one of several processes, until the first one cannot cut the boxes."""

    def cut_boxes(*_: object) -> None:
        raise InputError("no box can be cut")

    pseudo_boxes.cut_boxes = cut_boxes
    return run_together(flags, lambda workdir: wsol_jax.run(config("psol"), *workdir))


def test_an_error_where_boxes_are_cut_ends_the_processes_that_cut_none(tmp_path):
    flags = [f"--coordinator={tiny.free_address()}", "--num_processes=2", tmp_path / "w"]
    environment = {"cwd": Path(__file__).parent, "XLA_FLAGS": compiling.flags(4)}
    started = [tiny.python(FAILS, *flags, f"--process_id={i}", **environment) for i in range(2)]
    last = [process.communicate(timeout=500)[1].decode().splitlines()[-1] for process in started]
    assert last == ["error: no box can be cut", "process 0: error: no box can be cut"]
    assert [process.returncode for process in started] == [2, 2]
    assert not (tmp_path / "w" / "pseudo_boxes" / "boxes.parquet").exists()
