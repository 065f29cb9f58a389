"""Two processes with four devices each, and four with two each, have the results of one with eight."""

from pathlib import Path

import compiling
import jax
import numpy as np
import pytest
import tiny
from jax.sharding import Mesh

from configs.base import get_config
from wsol_jax import devices
from wsol_jax.data import plan
from wsol_jax.data.records import Dataset
from wsol_jax.pseudo import ddt
from wsol_jax.pseudo.heat_maps import make_forward, make_reader
from wsol_jax.training.log import read_log
from wsol_jax.training.predict import predict_photos

WORK = """
    import sys
    from pathlib import Path
    import jax

    jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    import test_two_processes

    test_two_processes.work(Path(sys.argv[4]), Path(sys.argv[5]), test_two_processes.permuted())
"""


def work(folder: Path, file: Path, mesh: Mesh) -> None:
    """Train for five steps in `folder`, predict, fit directions, and write the results to a file."""
    experiment = tiny.experiment(arch="vgg_gap", epochs=5 * 8 / 24, learning_rate=1e-4)
    state = experiment.train(folder, mesh)
    batches = [batch for batch in experiment.batches(range(5), mesh)]
    results = {name: np.stack([getattr(batch, name) for batch in batches]) for name in batches[0]._fields}
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    prediction = predict_photos(
        experiment.method, variables, experiment.dataset, experiment.dataset.splits["test"],
        window=plan.test_window("center_crop", 224 / 256), size=tiny.SIZE, batch_size=8, name="test", mesh=mesh,
    )  # fmt: skip
    results |= {} if prediction is None else {"box": prediction.box}
    rows = interleaved_rows() if jax.process_count() > 1 else {}
    np.savez(file, **results, **rows, **directions(experiment.dataset, mesh))


def permuted() -> Mesh:
    """A mesh of all devices, each process's in the reverse order of their ids; the processes are in order."""
    devices_of = [[d for d in jax.devices() if d.process_index == i] for i in range(jax.process_count())]
    ordered = devices.make_mesh()
    return Mesh(
        np.concatenate([of_one[::-1] for of_one in devices_of]), ordered.axis_names, axis_types=ordered.axis_types
    )


def interleaved_rows() -> dict[str, np.ndarray]:
    """Rows that pass through a mesh whose processes take turns, as `jax.make_mesh` may order a TPU's."""
    by_turns = sorted(jax.devices(), key=lambda d: (d.id % jax.local_device_count(), d.process_index))
    turns = devices.make_mesh()
    turns = Mesh(np.array(by_turns), turns.axis_names, axis_types=turns.axis_types)
    with pytest.raises(ValueError, match="do not follow each other"):
        devices.local_slice(8, turns)
    assert devices.make_mesh(by_turns) == devices.make_mesh()
    rows = np.arange(8)[devices.local_slice(8, permuted())]
    on_devices = devices.put(rows, permuted())
    devices.require_order(on_devices, range(8))
    with pytest.raises(ValueError, match="the rows of a batch are those of photos"):
        devices.require_order(on_devices, [1, 0, 2])
    whole = devices.gather({"rows": on_devices, "double": 2 * on_devices}, permuted())
    assert not on_devices.is_fully_replicated and all(array.is_fully_replicated for array in whole.values())
    np.testing.assert_array_equal(devices.fetch(whole["double"]), 2 * devices.fetch(whole["rows"]), strict=True)
    return {"rows": rows, "fetched": devices.fetch(on_devices), "gathered": devices.fetch(whole["rows"])}


def directions(dataset: Dataset, mesh: Mesh) -> dict[str, np.ndarray]:
    """Of every class under a narrow VGG: direction, mean, heat maps; in the first process."""
    config = get_config().pseudo.unlock()
    config.update(arch="vgg_gap", weights="", size=tiny.SIZE, layer="relu4_1", batch_size=8)
    config.arch_kwargs = tiny.NARROW["vgg_gap"]
    records = dataset.splits["train"]
    groups = np.array([record.label for record in records])
    read = make_reader(dataset.read, records, config.size, config.batch_size, "train", mesh)
    forward = make_forward(config, 0, mesh)
    rules = dict(batch_size=8, sign=config.sign, max_bytes=config.max_bytes)
    directions = ddt.find_directions(forward, read, groups, done=(), **rules, fetch=devices.fetch, log=print)
    found = [{"direction": one.direction, "mean": one.mean, "heat": heat} for _, one, _, heat in directions]
    return {name: np.stack([of_group[name] for of_group in found]) for name in (found[0] if found else ())}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    work(folder / "localizer", folder / "results.npz", tiny.mesh(8))
    return folder, dict(np.load(folder / "results.npz"))


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.long)])
def several(request, tmp_path_factory):
    count, folder = request.param, tmp_path_factory.mktemp("several")
    address, results = tiny.free_address(), [folder / f"{i}.npz" for i in range(count)]
    here, flags = Path(__file__).parent, compiling.flags(8 // count)
    started = [
        tiny.python(WORK, address, count, i, folder / "localizer", results[i], cwd=here, XLA_FLAGS=flags)
        for i in range(count)
    ]
    for process in started:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors.decode()
    return folder, [dict(np.load(file)) for file in results]


def test_batches_are_the_same_bit_for_bit(one, several):
    for name in ("image", "window", "flip", "label", "target", "index", "valid"):
        joined = np.concatenate([part[name] for part in several[1]], axis=1)
        np.testing.assert_array_equal(joined, one[1][name], err_msg=name, strict=True)


def test_rows_of_a_permuted_mesh_come_back_in_order(several):
    """The process that computes a row is the one that read it, and an interleaved mesh is refused."""
    np.testing.assert_array_equal(np.concatenate([part["rows"] for part in several[1]]), np.arange(8))
    for part in several[1]:
        np.testing.assert_array_equal(part["fetched"], np.arange(8))
        np.testing.assert_array_equal(part["gathered"], np.arange(8))


def test_the_first_five_losses_agree(one, several):
    losses = [[line["loss"] for line in read_log(folder / "localizer")] for folder in (one[0], several[0])]
    assert len(losses[0]) == 5
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_the_first_process_knows_every_prediction(one, several):
    assert one[1]["box"].shape == (10, 4)
    np.testing.assert_allclose(several[1][0]["box"], one[1]["box"], atol=1e-4)


def test_directions_agree(one, several):
    first = several[1][0]
    cosine = np.sum(first["direction"] * one[1]["direction"], axis=-1)
    assert cosine.shape == (tiny.CLASSES,) and (1 - np.abs(cosine) < 1e-6).all()
    np.testing.assert_allclose(first["mean"], one[1]["mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first["heat"], one[1]["heat"], rtol=1e-3, atol=1e-4)


def test_other_processes_keep_no_predictions_and_heat_maps(several):
    for part in several[1][1:]:
        assert not {"box", "direction", "mean", "heat"} & set(part)
