"""Bad weight files: builders of inputs, each (random numbers, number of the input, an empty folder) -> its reader."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pickles
from safetensors.numpy import save
from torch_file import Tensor, write_stream, write_zip

from wsol_jax.weights.matching import to_float32
from wsol_jax.weights.weight_files import read_weights


def weights(path: Path) -> Callable[[], object]:
    return lambda: read_weights(str(path))


def code_in_an_entry(rng, number, folder):
    ways = pickles.touch(folder / "touched")
    code = pickles.state_dict(w=ways[number // 2 % len(ways)])
    return weights((pickles.as_zip, pickles.as_stream)[number % 2](folder / "w.pth.tar", code))


def code_next_to_a_network(rng, number, folder):
    ways = pickles.touch(folder / "touched")
    inner = b"}" + pickles.text("w") + pickles.ONE_TENSOR + b"s"
    code = pickles.state_dict(w=b"K\x01", state_dict=inner, extra=ways[number // 2 % len(ways)])
    return weights((pickles.as_zip, pickles.as_stream)[number % 2](folder / "w.ckpt", code))


PLACES = {  # where a value that doubles itself may be
    "key": lambda code: b"\x80\x02}" + code + pickles.ONE_TENSOR + b"s.",
    "value": lambda code: pickles.state_dict(extra=code),
    "storage": lambda code: pickles.state_dict(extra=code + b"Q"),
    "key of a storage": lambda code: pickles.state_dict(
        extra=b"(" + pickles.text("storage") + b"ctorch\nFloatStorage\n" + code + pickles.text("cpu") + b"K\x02tQ"
    ),
    "shape": lambda code: pickles.state_dict(
        w=pickles.TENSOR + b"(" + pickles.STORAGE + b"K\x00" + code + code + b"\x89}tR"
    ),
    "dtype": lambda code: pickles.state_dict(
        w=pickles.call("numpy.core.multiarray", "_reconstruct", b"N")
        + b"(K\x01K\x02\x85"
        + pickles.call("numpy", "dtype", code)
        + b"\x89"
        + pickles.text("12345678")
        + b"tb"
    ),
    "callable": lambda code: pickles.state_dict(extra=code + b")R"),
    "set": lambda code: pickles.state_dict(extra=b"\x8f(" + code + b"\x90"),
}


def doubled(rng, number, folder):
    place = list(PLACES.values())[number % len(PLACES)]
    kind = (b"t", b"l")[number // len(PLACES) % 2]
    return weights(pickles.as_zip(folder / "w.bin", place(pickles.doubled(kind=kind))))


def one_value_many_times(rng, number, folder):
    """A dict or list of many entries, and as many that hold or copy it: their product is too much work."""
    many = 100_000
    plain = b"}(" + b"".join(pickles.text(str(i)) + b"N" for i in range(many)) + b"u"
    pairs = b"](" + b"".join(b"K\x00K\x01\x86" for _ in range(many)) + b"e"
    each = (b"h\x00", b"ccollections\nOrderedDict\nh\x00\x85R")[number % 2]
    others = b"(" + b"".join(pickles.text(f"x{i}") + each for i in range(many)) + b"u"
    code = b"\x80\x02}" + (plain, pairs)[number % 2] + b"q\x000" + others
    return weights(pickles.as_zip(folder / "w.bin", code + pickles.text("w") + pickles.ONE_TENSOR + b"s."))


INSTRUCTIONS = {
    "endless text": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",
    "endless bytes": b"\x80\x04\x8e" + (2**63 - 1).to_bytes(8, "little") + b"x.",
    "endless number": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "negative length": b"\x80\x02T\xff\xff\xff\xffx.",
    "no value": b"\x80\x02.",
    "no stop": b"\x80\x02}",
    "nothing to pop": b"\x80\x0200.",
    "no mark": b"\x80\x02}t.",
    "no memo": b"\x80\x02h\x05.",
    "extension": b"\x80\x02\x82\x01.",
    "buffer": b"\x80\x05\x97.",
    "deep tuple": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "deep list": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "many marks": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
    "odd dict": b"\x80\x02(K\x01d.",
    "two values": b"\x80\x02}}.",
    "a persistent name": b"\x80\x02Pname\n.",
    "unknown instruction": b"\x80\x02\xff.",
    "empty": b"",
    "digits": b"I" + b"9" * 100_000 + b"\n.",
}


def instructions(rng, number, folder):
    code = list(INSTRUCTIONS.values())[number // 2 % len(INSTRUCTIONS)]
    if number % 2:
        (folder / "w.pt").write_bytes(code)
        return weights(folder / "w.pt")
    return weights(pickles.as_zip(folder / "w.pt", code))


def too_many_instructions(rng, number, folder):
    return weights(pickles.as_zip(folder / "w.pth", b"\x80\x02N" + b"2" * 6_000_000 + b"."))


def grown(rng, number, folder):
    """A thousand tensors that share one storage."""
    many = {f"w{i}": pickles.ONE_TENSOR.replace(b"K\x02", b"M\xe8\x03") for i in range(1000)}
    code = pickles.state_dict(**many, w=b"N")
    return weights(pickles.as_zip(folder / "w.pth", code, {"0": bytes(4000)}))


def nested_archive(rng, number, folder):
    inner = pickles.as_zip(folder / "inner.pth", pickles.state_dict()).read_bytes()
    path = folder / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED) as archive:
        if number // 2 == 0:
            archive.writestr("inner.pth", inner)
        elif number // 2 == 1:
            archive.writestr("a/data.pkl", inner)
        elif number // 2 == 2:
            archive.writestr("a/data.pkl", pickles.state_dict())
            archive.writestr("b/data.pkl", pickles.state_dict())
        else:
            archive.writestr("w.npy", inner)
    return weights(path)


def unpacked(rng, number, folder):
    np.savez_compressed(folder / "w.npz", w=np.zeros(2**26, np.uint8))
    return weights(folder / "w.npz")


VALID = {
    "zip.pth": lambda path: write_zip(path, {"model": {"a.w": Tensor(np.ones(9, "f4")), "b": Tensor(np.ones(3))}}),
    "stream.pth": lambda path: write_stream(path, {"a.w": Tensor(np.ones(9, "f4")), "b": Tensor(np.ones(3))}),
    "w.safetensors": lambda path: path.write_bytes(save({"a.w": np.ones(9, "f4"), "b": np.ones(3)})),
    "w.npz": lambda path: np.savez(path, a=np.ones(9, "f4"), b=np.ones(3)),
    "tree.pkl": lambda path: path.write_bytes(pickle.dumps({"a": np.ones(9, "f4"), "b": np.ones(3)})),
}


def broken_bytes(rng, number, folder):
    name, write = list(VALID.items())[number % len(VALID)]
    write(folder / name)
    data = bytearray((folder / name).read_bytes())
    if number // len(VALID) % 3 == 0:
        del data[rng.integers(len(data)) :]
    else:
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            data[place] = rng.integers(256)
    (folder / name).write_bytes(data)
    return weights(folder / name)


def broken_instructions(rng, number, folder):
    """Bytes of the pickle itself, in a sound zip file."""
    stream = io.BytesIO(pickles.state_dict(extra=b"]K\x01a", more=b"}K\x02K\x03s"))
    code = bytearray(stream.getvalue())
    for place in rng.integers(len(code), size=rng.integers(1, 6)):
        code[place] = rng.integers(256)
    return weights(pickles.as_zip(folder / "w.pth", bytes(code)))


OTHERS = {
    "text": b"hello",
    "page": b"<!DOCTYPE html><html></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "gzip": b"\x1f\x8b" + bytes(20),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "zeros": bytes(1000),
    "photo": b"\xff\xd8\xff\xe0" + bytes(100),
    "empty": b"",
    "zip": b"PK\x05\x06" + bytes(18),
}


def another_kind(rng, number, folder):
    (folder / "w.safetensors").write_bytes(list(OTHERS.values())[number % len(OTHERS)])
    return weights(folder / "w.safetensors")


def no_numbers(rng, number, folder):
    array = np.ones(5, np.float64)
    array[2] = (np.nan, np.inf, -np.inf, 1e300)[number % 4]
    return lambda: to_float32("w", {"a": array})


def strange_name(rng, number, folder):
    name = ("a\nb", "a\x1b[31m", "\u202egnp", "x" * 1000, "\ud800")[number % 5]
    np_name = name.encode("utf-8", "replace").decode()
    (folder / "w").write_bytes(save({np_name if "\ud800" not in name else "a\0b": np.ones(2, "f4")}))
    return weights(folder / "w")
