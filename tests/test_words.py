"""Public functions say in their first line what they return or do, in the imperative, and are typed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "launch.py", *sorted((ROOT / "wsol_jax").rglob("*.py"))]
VERBS = set(
    """Return Raise Write Yield Train Run Check Append Compute Put Start Wait Predict Read Accept Print Convert Time
    Apply Show Hold Remove""".split()  # noqa: SIM905 - a list of strings is harder to extend
)


def public_functions(file: Path) -> Iterator[ast.FunctionDef]:
    """The functions of a module and the methods of its classes whose names do not begin with an underscore."""
    tree = ast.parse(file.read_text())
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for node in (node for body in bodies for node in body):
        is_property = isinstance(node, ast.FunctionDef) and any(
            isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in node.decorator_list
        )
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not is_property:
            yield node


@pytest.mark.parametrize("file", FILES, ids=[file.relative_to(ROOT).as_posix() for file in FILES])
def test_public_functions_are_described_and_typed(file):
    for function in public_functions(file):
        arguments = [*function.args.args, *function.args.kwonlyargs]
        untyped = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
        assert not untyped and function.returns is not None, f"{function.name}: {untyped or 'what it returns'}"
        first = (ast.get_docstring(function) or "").split(maxsplit=1)
        assert first and first[0] in VERBS, f"{function.name}: {first[:1]}"
