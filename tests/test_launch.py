"""The command line: what goes wrong is told in one line with exit code 2, and a stopped run goes on."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import compiling
import experiments
import pytest

import launch

ROOT = Path(launch.__file__).parent
BASE = f"--config={ROOT / 'configs' / 'base.py'}"
CUB = f"--config={ROOT / 'configs' / 'psol_cub.py'}"
NO_NETWORK = ["--config.pseudo.source=truth", "--config.stages=pseudo_boxes,evaluate"]
SMALL = [f"--config.data.scenes.{key}={value}" for key, value in dict(classes=2, train=4, test=2, size=32).items()]


@pytest.fixture
def error(capsys):
    """Runs a command line that is wrong; returns what it says after 'error: '."""

    def run(*arguments: str) -> str:
        assert launch.main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"error: .+\n", err), err
        return err.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture
def workdir(tmp_path):
    return f"--workdir={tmp_path / 'w'}"


COMMANDS = {
    "no flags": ([], "arguments are required: --config, --workdir"),
    "no workdir": ([BASE], "arguments are required: --workdir"),
    "no value": ([BASE, "--workdir"], "--workdir: expected one argument"),
    "unknown flag": ([BASE, "W", "--foo=1"], "'--foo=1' is not understood; expected --config=FILE, --workdir=DIR or"),
    "part of a flag": ([BASE, "--work=w"], "required: --workdir"),
    "stray word": ([BASE, "W", "stray"], "'stray' is not understood"),
    "no value of a key": ([BASE, "W", "--config.seed"], r"'--config\.seed' is not understood; .*--config\.KEY=VALUE"),
    "two values of a key": ([BASE, "W", "--config.seed", "1", "2"], "'2' is not understood"),
    "a name of no config": (["--config=psol_cup", "W"], r"psol_cup: there is no such file; .*a name that --help lists"),
    "unknown key": ([BASE, "W", "--config.sed=1"], "there is no key 'sed'; expected seed"),
    "unknown group": ([BASE, "W", "--config.lokalizer.size=1"], "there is no key 'lokalizer'; expected localizer"),
    "unknown nested key": ([BASE, "W", "--config.data.scenes.klasses=3"], "no key 'klasses'; expected classes"),
    "nothing like it": (
        [BASE, "W", "--config.qqq=1"],
        "no key 'qqq'; expected ablation, boxes, classifier, .*data, .*seed, stages",
    ),
    "key of a value": ([BASE, "W", "--config.seed.x=1"], "there is no key 'x'; expected none"),
    "no key": ([BASE, "W", "--config.=1"], "there is no key ''"),
    "dotted name": ([CUB, "W", "--config.pseudo.views={'../a': {'size': 64}}"], "expected a group such as"),
    "no dict": ([CUB, "W", "--config.pseudo.views=3"], "expected a group such as"),
    "number for a name": ([CUB, "W", "--config.pseudo.arch_kwargs={1: 2}"], "expected a group such as"),
    "no literal": ([CUB, "W", "--config.train.arch_kwargs=(1,"], "expected a Python literal such as"),
    "no values": ([CUB, "W", "--config.pseudo.threshold_levels=a,b"], "expected values separated by commas"),
    "group of keys": ([BASE, "W", "--config.localizer={}"], "this is a group of keys; expected one of arch, "),
    "word for float": (
        [BASE, "W", "--config.localizer.epochs=abc"],
        r"localizer\.epochs=abc: expected a value of type float",
    ),
    "float for int": ([BASE, "W", "--config.seed=1.5"], r"seed=1\.5: expected a value of type int"),
    "nothing for int": ([BASE, "W", "--config.seed="], "expected a value of type int"),
    "word for bool": ([BASE, "W", "--config.overwrite=maybe"], "expected a value of type bool"),
    "no config file": (["--config=no.py", "W"], r"--config=no\.py: there is no such file"),
    "folder for config": ([f"--config={ROOT}", "W"], "there is no such file"),
    "wrong choice": ([BASE, "W", "--config.pseudo.sign=x"], r"pseudo\.sign is 'x'; expected one of max_projection, "),
    "wrong number": ([BASE, "W", "--config.localizer.epochs=-1"], r"localizer\.epochs is -1\.0; expected a positive"),
    "odd batch": ([BASE, "W", "--config.predict.batch_size=12"], r"batch_size is 12; expected a multiple of the 8 dev"),
    "wrong stage": ([BASE, "W", "--config.stages=predict,x"], "stages is 'predict,x'; expected some of pseudo_boxes,"),
    "no data": ([CUB, "W"], r"give it with --config\.data\.dir=FOLDER"),
    "wrong data": ([CUB, "W", "--config.data.dir=no"], r"--config\.data\.dir: there is no folder no"),
    "wrong scenes": ([BASE, "W", "--config.data.scenes.train=0"], r"data\.scenes\.train: expected at least 1"),
    "wrong weights": (
        [BASE, "W", *SMALL, "--config.stages=classifier", "--config.classifier.weights=no.npz"],
        r"--config\.classifier: no\.npz: no such weight file",
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), COMMANDS.values(), ids=COMMANDS)
def test_a_mistake_is_told_in_one_line(arguments, expected, error, workdir):
    assert re.search(expected, error(*(workdir if argument == "W" else argument for argument in arguments)))


CONFIGS = {
    "syntax error": ("def get_config(:", r"SyntaxError: invalid syntax \(mine\.py, line 1\)"),
    "raises": ("def get_config():\n    raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "undefined name": ("def get_config():\n    return nothing", "NameError: name 'nothing' is not defined"),
    "missing import": ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    "no get_config": ("x = 1", "KeyError: 'get_config'"),
    "returns nothing": ("def get_config():\n    pass", r"get_config\(\) returned NoneType, expected a ConfigDict"),
    "lacks keys": (
        "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'stages': 'predict'})",
        r"the configuration lacks the key ablation; configs/base\.py has every one",
    ),
    "lacks all": (
        "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict()",
        "the configuration lacks the key ablation",
    ),
}


@pytest.mark.parametrize(("text", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_a_wrong_config_file(text, expected, error, workdir, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    assert re.search(expected, error(f"--config={tmp_path / 'mine.py'}", workdir))


def test_a_wrong_workdir(error, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        assert f"--workdir={tmp_path / place}: this folder cannot be created" in error(
            BASE, f"--workdir={tmp_path / place}"
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_workdir_that_cannot_be_written_to(error, tmp_path):
    (tmp_path / "w").mkdir(mode=0o500)
    assert "this folder cannot be written to" in error(BASE, f"--workdir={tmp_path / 'w'}")


def test_a_workdir_of_another_experiment(error, workdir, capsys):
    assert launch.main([BASE, workdir, *SMALL, *NO_NETWORK]) == 0
    capsys.readouterr()
    told = error(BASE, workdir, *SMALL, *NO_NETWORK, "--config.pseudo.size=96", "--config.evaluate.resamples=7")
    assert "pseudo.size was 448, is 96; evaluate.resamples was 1000, is 7; --config.overwrite=True redoes" in told


def test_a_dry_run_of_one_process_alone(error, workdir, monkeypatch):
    monkeypatch.setattr(launch.processes, "from_first", lambda decide: {"--dry_run": True})
    told = error(BASE, workdir)
    assert told.startswith("command lines: --dry_run is False in process 0 and True in process 0; expected the same")


def test_keys_are_changed():
    changes = {"seed": "7", "localizer.epochs": "3", "overwrite": "True", "data.dir": "/my photos/a=b", "stages": ""}
    changes["localizer.arch_kwargs"] = "{'width': 8, 'depths': (1, 1, 1, 1)}"
    flags = [f"--config.{key}={value}" for key, value in changes.items()]
    config, workdir, is_dry = launch.parse([flags[0], "--workdir=w", BASE, *flags[1:]])
    assert not is_dry
    assert (config.seed, config.localizer.epochs, config.overwrite) == (7, 3.0, True)
    assert type(config.localizer.epochs) is float
    assert (config.data.dir, config.stages) == ("/my photos/a=b", "")
    assert config.localizer.arch_kwargs.to_dict() == {"width": 8, "depths": (1, 1, 1, 1)}
    assert workdir == Path("w")
    assert config.is_locked


def test_a_config_may_be_a_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("psol_folder", "configs/psol_folder.py"):
        config, _, is_dry = launch.parse([f"--config={name}", "--workdir", "w", "--dry_run"])
        assert config.data.name == "folder" and is_dry


def test_a_value_may_follow_after_a_space(tmp_path):
    flags = ["--config.data.dir", "my photos", "--config.seed", "3", "--config.localizer.learning_rate", "-1"]
    config, _, _ = launch.parse(["--config", "base", "--workdir", "w", *flags])
    assert (config.data.dir, config.seed, config.localizer.learning_rate) == ("my photos", 3, -1.0)


def test_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    flags = ["--config.data.dir=~/birds", "--config.combine.boxes=a=~/W1,b=~/b.parquet", "--config.predict.splits=a~/b"]
    config, workdir, _ = launch.parse(["--config=base", "--workdir=~/w", *flags])
    assert (config.data.dir, workdir) == ("/home/ann/birds", Path("/home/ann/w"))
    assert config.combine.boxes == "a=/home/ann/W1,b=/home/ann/b.parquet"
    assert config.predict.splits == "a~/b"


CACHE = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax")}


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "launch.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": compiling.FLAGS, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | CACHE | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background ignores Ctrl-C, and so does whatever it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_help():
    process = start("--help")
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert "--config.KEY=VALUE changes a key" in out
    assert "--workdir DIR" in out
    listed = {line.split()[0] for line in out.partition("configs:\n")[2].splitlines()}
    assert listed == {file.stem for file in (ROOT / "configs").glob("*.py")}
    assert "  psol_folder                  PSOL on your own photos: one folder for each class" in out


def test_a_mistake_is_the_last_line_and_the_exit_code():
    process = start(BASE, "--workdir=w", "--config.localizer.epoch=3")
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (2, "")
    assert err == "error: --config.localizer.epoch=3: there is no key 'epoch'; expected epochs\n"


@pytest.mark.long
def test_a_run_is_stopped_and_goes_on_with_nothing_on_the_console_but_its_log(tmp_path):
    (tmp_path / "mine.py").write_text("from experiments import tiny\n\ndef get_config():\n    return tiny()\n")
    command = [f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'w'}"]
    environment = {"PYTHONPATH": str(Path(experiments.__file__).parent)}
    process = start(*command, **environment)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "localizer: started" in line:
            process.send_signal(signal.SIGINT)
    assert process.wait(timeout=100) == 130
    assert lines.pop() == "stopped; the same command continues from here\n"
    assert "pseudo_boxes: started" in lines[1]

    process = start(*command, **environment)
    out, err = process.communicate(timeout=500)
    assert (process.returncode, out) == (0, "")
    assert "pseudo_boxes: already finished" in err
    place = tmp_path / "w"
    assert (
        err.splitlines()[-1][9:] == f"finished; boxes: {place / 'predictions'}; page: {place / 'report' / 'index.html'}"
    )
    for line in lines + err.splitlines():
        assert re.match(r"\d\d:\d\d:\d\d \S", line), line


def test_a_number_with_the_name_of_an_open_group():
    config = launch.load("base")
    launch.change(config, "--config.localizer.views=3")
    assert config.localizer.views == 3
    with pytest.raises(launch.InputError, match=r"--config\.localizer\.views=x: expected a value of type int"):
        launch.change(config, "--config.localizer.views=x")
