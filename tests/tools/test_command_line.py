import sys
from types import SimpleNamespace

import pytest

from wsol_jax.errors import InputError
from wsol_jax.tools import command_line
from wsol_jax.tools.command_line import Parser, exit_code


def failing(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize("error", [InputError("one\ntwo"), FileNotFoundError(2, "one", "two")])
def test_a_mistake_is_one_line(error, capsys):
    assert exit_code(failing(error)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and "one" in err and "two" in err


def test_a_bug_is_not_hidden():
    with pytest.raises(KeyError):
        exit_code(failing(KeyError("x")))


def test_a_command_that_ends_well(capsys):
    assert exit_code(lambda: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


def test_a_flag_that_does_not_exist(capsys):
    assert exit_code(lambda: Parser().parse_args(["--what"])) == 2
    assert capsys.readouterr().err == "error: command line: unrecognized arguments: --what\n"


def test_late_answers_of_threads_after_a_failed_checkpoint_are_not_printed(capsys, monkeypatch):
    command_line._print_exception(RuntimeError, RuntimeError("Event loop is closed"), None)
    assert capsys.readouterr().err == ""
    command_line._print_exception(RuntimeError, RuntimeError("another one"), None)
    assert capsys.readouterr().err == "RuntimeError: another one\n"
    shown = []
    monkeypatch.setattr(sys, "__unraisablehook__", shown.append)
    for error in (RuntimeError("Event loop is closed"), RuntimeError("another one")):
        command_line._print_unraisable(SimpleNamespace(exc_value=error))
    assert [str(one.exc_value) for one in shown] == ["another one"]
