"""A reader of pickles that runs nothing of them: every object becomes a plain value or an inert record.

A pickle is a program for a stack machine. Here the instructions are those of `pickletools`, and the machine is this
file: a name is a `Global`, which is never looked up, a call is a record of that name, and whatever sets, appends to or
builds a record is ignored. So each instruction takes a bounded time, whatever the file holds, and nothing walks through
what it holds, which may contain itself or double itself forty times.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

MAX_INSTRUCTIONS = 5_000_000  # of one pickle; a large network with its optimiser has half a million
MAX_NAME = 1_000  # of a key that is compared, characters

_VALUES = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT""".split()  # noqa: SIM905 - a list of strings is longer
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_NOTHING = ("PROTO", "FRAME", "READONLY_BUFFER")


class Global(NamedTuple):
    """The name of a class or function, 'module.name'; it is compared and never looked up."""

    name: str


class Opaque:
    """An inert placeholder of an object that is of no use here; `kind` is its class, or its function."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Built:
    """A record of an object that a pickle makes by a call, and then gives a state, such as an array of numpy's."""

    __slots__ = ("arguments", "kind", "state")

    def __init__(self, kind: str, arguments: tuple) -> None:
        self.kind, self.arguments, self.state = kind, arguments, None


class _Mark:
    """The mark on the stack; no pickle has another one."""


_MARK = _Mark()


def read_pickle(
    stream: BinaryIO, makers: Mapping[str, Callable[[tuple], Any]], persistent: Callable[[Any], Any]
) -> Any:
    """Return the value of the next pickle of a stream, and leave the stream after it.

    Args:
        stream: of bytes.
        makers: 'module.name' -> a function from the arguments of a call of it to the record of the result; it must
            not walk through them, except through a list that it empties. A call of any other name gives an `Opaque`.
        persistent: from a persistent id to its record; it must not walk through the id either.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, dict with keys of these kinds, `Global`, `Opaque` or what
        `makers` and `persistent` return, nested in any way.

    Raises:
        Exception: of any kind, where the pickle is damaged, has an instruction that is unknown, or too many.
    """
    machine = _Machine(makers, persistent)
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if count >= MAX_INSTRUCTIONS:
            raise ValueError(f"a pickle of more than {MAX_INSTRUCTIONS} instructions")
        machine.step(instruction.name, argument)
    (value,) = machine.stack
    return value


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, makers: Mapping[str, Callable[[tuple], Any]], persistent: Callable[[Any], Any]) -> None:
        self.makers, self.persistent = makers, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Run one instruction; its name is that of `pickletools`."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUT:
            self.memo[argument] = self.stack[-1]
        elif name in _GET:
            self.stack.append(self.memo[argument])
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self.stack[-_TUPLES[name] :])]
        elif name not in _NOTHING:
            getattr(self, f"_{name.lower()}", self._unknown)(*([] if argument is None else [argument]))

    def _unknown(self, *_: Any) -> None:
        raise ValueError("an instruction that no file of arrays needs")

    def _to_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                above = self.stack[position + 1 :]
                del self.stack[position:]
                return above
        raise ValueError("no mark on the stack")

    def _mark(self) -> None:
        self.stack.append(_MARK)

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _stop(self) -> None:
        """The end; the value stays on the stack."""

    def _pop(self) -> None:
        self.stack.pop()

    def _pop_mark(self) -> None:
        self._to_mark()

    def _dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _empty_tuple(self) -> None:
        self.stack.append(())

    def _tuple(self) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _empty_list(self) -> None:
        self.stack.append([])

    def _list(self) -> None:
        self.stack.append(self._to_mark())

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self._to_mark())

    def _extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is list:
            self.stack[-1].extend(values)

    def _empty_dict(self) -> None:
        self.stack.append({})

    def _dict(self) -> None:
        values = self._to_mark()
        self.stack.append({})
        self._update(values)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _setitems(self) -> None:
        self._update(self._to_mark())

    def _update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is dict:
            for key, value in zip(values[::2], values[1::2], strict=True):
                target[plain_key(key)] = value

    def _empty_set(self) -> None:
        self.stack.append(Opaque("set"))

    def _additems(self) -> None:
        self._to_mark()

    def _frozenset(self) -> None:
        self._to_mark()
        self.stack.append(Opaque("frozenset"))

    def _global(self, name: str) -> None:
        self.stack.append(Global(name.replace(" ", ".", 1)))

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is no text")
        self.stack.append(Global(f"{module}.{name}"))

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(function, arguments))

    def call(self, function: Any, arguments: Any) -> Any:
        """Return the record of a call."""
        name = function.name if type(function) is Global else "nameless object"
        maker = self.makers.get(name)
        return maker(arguments) if maker and type(arguments) is tuple else Opaque(name)

    def _build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) is Built:
            self.stack[-1].state = state

    def _newobj(self) -> None:
        self._reduce()

    def _newobj_ex(self) -> None:
        self.stack.pop()  # the keyword arguments
        self._reduce()

    def _inst(self, name: str) -> None:
        self._to_mark()
        self.stack.append(Opaque(name.replace(" ", ".", 1)))

    def _obj(self) -> None:
        function, *_ = self._to_mark()
        self.stack.append(Opaque(function.name if type(function) is Global else "nameless object"))

    def _persid(self, name: str) -> None:
        self.stack.append(self.persistent(name))

    def _binpersid(self) -> None:
        self.stack.append(self.persistent(self.stack.pop()))


def plain_key(key: Any) -> Any:
    """Return a key as it is if it is cheap to compare, else a placeholder: a tuple may hold itself many times over."""
    is_short = type(key) in (str, bytes) and len(key) <= MAX_NAME
    if is_short or type(key) in (float, bool, type(None)) or (type(key) is int and key.bit_length() <= 64):
        return key
    return Opaque(type(key).__name__)
