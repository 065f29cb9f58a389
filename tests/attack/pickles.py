"""Hostile pickles, written instruction by instruction, and the files that hold them."""

import pickle
import struct
import zipfile
from pathlib import Path

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ"
ONE_TENSOR = TENSOR + b"(" + STORAGE + b"K\x00K\x02\x85K\x01\x85\x89}tR"
"""The instructions of a tensor [2] of storage '0'."""


def text(value: str) -> bytes:
    """The instruction of a string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def state_dict(**entries: bytes) -> bytes:
    """The pickle of a dict of instructions, with a tensor 'w' before them."""
    pairs = b"".join(text(name) + code for name, code in ({"w": ONE_TENSOR} | entries).items())
    return b"\x80\x02}(" + pairs + b"u."


def as_zip(path: Path, code: bytes, storages: dict[str, bytes] | None = None, root: str = "archive") -> Path:
    """Write a torch zip file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", code)
        for key, data in (storages or {"0": bytes(8)}).items():
            archive.writestr(f"{root}/data/{key}", data)
    return path


def as_stream(path: Path, code: bytes) -> Path:
    """Write torch's old stream around a pickle."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    parts = [*(pickle.dumps(value, 2) for value in head), code, pickle.dumps(["0"], 2), struct.pack("<q", 2), bytes(8)]
    path.write_bytes(b"".join(parts))
    return path


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """The instructions that call a function."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def touch(file: Path) -> list[bytes]:
    """Instructions that would create a file, each by another way to call a function."""
    command = text(f"touch {file}")
    return [
        call("os", "system", command),
        call("posix", "system", command),
        call("builtins", "eval", text(f"open({str(file)!r}, 'w')")),
        call("subprocess", "check_call", text(f"touch {file}"), b"\x88"),
        call("builtins", "getattr", b"cos\n\n", text("system")) + b"(" + command + b"tR",
        b"cos\nsystem\n(" + command + b"t\x81",  # NEWOBJ
        b"cos\nsystem\n(" + command + b"t}\x92",  # NEWOBJ_EX
        b"(" + command + b"ios\nsystem\n",  # INST
        b"(cos\nsystem\n" + command + b"o",  # OBJ
        text("os") + text("system") + b"\x93(" + command + b"tR",  # STACK_GLOBAL
        b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + b"cos\nsystem\ns" + b"b" + command + b"b",  # BUILD
        call("torch._utils", "_rebuild_parameter", call("os", "system", command), b"\x88", b"}"),
        call("torch._tensor", "_rebuild_from_type_v2", b"cos\nsystem\n", b"N", b"(" + command + b"t", b"}"),
        call("functools", "partial", b"cos\nsystem\n", command) + b")R",
        call("wsol_jax.files", "write_atomically", command),
        call("numpy.core.multiarray", "_reconstruct", b"cos\nsystem\n", command),
    ]


def doubled(times: int = 40, kind: bytes = b"t") -> bytes:
    """A tuple, or list, that holds twice the one before, and so on: its parts are few, its leaves 2 ** times."""
    return text("leaf") + b"".join(
        b"q" + bytes([i]) + b"0(h" + bytes([i]) + b"h" + bytes([i]) + kind for i in range(times)
    )
