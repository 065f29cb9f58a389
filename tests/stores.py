"""A store of objects in memory, in place of gs://: for etils.epath, and over HTTP for TensorStore's checkpoints.

It is as strict as a store is: objects are written whole, and nothing is renamed, appended to or linked. Other processes
have the same objects, over HTTP for all.
"""

import fnmatch
import io
import json
import sys
import threading
import types
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from etils.epath import backend, gpath
from etils.epath.stat_utils import StatResult


class Bucket(backend.Backend):
    """The objects of gs://bucket, by name; other buckets do not exist.

    Attributes:
        objects: name -> its content and its generation.
        written: the names of all writes, in their order.
        opened: the names of all objects that `epath` has read, in their order.
        refuses: whether nothing may be read or written.
        address: over HTTP, once it is opened.
    """

    def __init__(self) -> None:
        self.objects: MutableMapping[str, tuple[bytes, int]] = {}
        self.written: list[str] = []
        self.opened: list[str] = []
        self.refuses = False
        self.address = ""
        self.lock = threading.Lock()

    def name(self, path: str) -> str:
        bucket, _, name = str(path).removeprefix("gs://").partition("/")
        if self.refuses:
            raise RuntimeError(f"HTTP response code 403: no access to {path}")
        if bucket != "bucket":
            raise FileNotFoundError(f"The specified bucket does not exist: {path}")
        return name

    def put(self, name: str, content: bytes, generation: int | None = None) -> int | None:
        """Write an object, or with `generation` only in place of that one (0: of none); return the new generation."""
        with self.lock:
            if generation is not None and self.objects.get(name, (b"", 0))[1] != generation:
                return None
            self.written.append(name)
            self.objects[name] = content, len(self.written)
            return len(self.written)

    def below(self, path: str) -> list[str]:
        prefix = self.name(path).rstrip("/")
        with self.lock:
            return [name for name in self.objects if not prefix or name.startswith(f"{prefix}/")]

    @contextmanager
    def open(self, path: str, mode: str) -> Iterator[io.BytesIO]:
        name = self.name(path)
        if "w" in mode:
            content = io.BytesIO() if "b" in mode else io.StringIO()
            yield content
            value = content.getvalue()
            self.put(name, value if "b" in mode else value.encode())
        elif mode in ("r", "rb") and name in self.objects:
            content = self.objects[name][0]
            self.opened.append(name)
            yield io.BytesIO(content) if "b" in mode else io.StringIO(content.decode())
        else:
            raise FileNotFoundError(path) if "r" in mode else NotImplementedError(f"mode {mode}")

    def exists(self, path: str) -> bool:
        return self.name(path) in self.objects or self.isdir(path)

    def isdir(self, path: str) -> bool:
        try:
            return bool(self.below(path))
        except FileNotFoundError:
            return False

    def listdir(self, path: str) -> list[str]:
        start = len(self.name(path).rstrip("/")) + 1 if self.name(path).rstrip("/") else 0
        return sorted({name[start:].partition("/")[0] for name in self.below(path)} - {""})

    def makedirs(self, path: str, *, exist_ok: bool = False, mode: int | None = None) -> None:
        self.put(f"{self.name(path).rstrip('/')}/", b"")  # as TensorFlow does

    mkdir = makedirs

    def rmtree(self, path: str) -> None:
        if not self.isdir(path):
            raise FileNotFoundError(path)
        for name in self.below(path):
            del self.objects[name]

    def remove(self, path: str) -> None:
        if self.objects.pop(self.name(path), None) is None:
            raise FileNotFoundError(path)

    def stat(self, path: str) -> StatResult:
        if self.name(path) not in self.objects:
            raise FileNotFoundError(path)
        content, generation = self.objects[self.name(path)]
        return StatResult(is_directory=False, length=len(content), mtime=generation)

    def refuse(self, *_: object, **__: object) -> None:
        raise NotImplementedError("a store cannot do this")

    def glob(self, path: str) -> list[str]:
        folder, _, pattern = path.rpartition("/")
        return [f"{folder}/{name}" for name in self.listdir(folder) if fnmatch.fnmatch(name, pattern)]

    walk = rename = replace = copy = refuse


class RemoteBucket(Bucket):
    """The objects of a bucket that another process has opened."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.objects = _RemoteObjects(address)

    def put(self, name: str, content: bytes, generation: int | None = None) -> None:
        self.objects[name] = content, 0


class _RemoteObjects(MutableMapping[str, tuple[bytes, int]]):
    """The objects behind an address."""

    def __init__(self, address: str) -> None:
        self.address = f"{address}/storage/v1/b/bucket/o"

    def __getitem__(self, name: str) -> tuple[bytes, int]:
        return self._ask("GET", name, {"alt": "media"})

    def __setitem__(self, name: str, value: tuple[bytes, int]) -> None:
        self._ask("POST", "", {"name": name}, value[0])

    def __delitem__(self, name: str) -> None:
        self._ask("DELETE", name, {})

    def __iter__(self) -> Iterator[str]:
        return iter([item["name"] for item in json.loads(self._ask("GET", "", {})[0])["items"]])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _ask(self, method: str, name: str, query: dict[str, str], content: bytes | None = None) -> tuple[bytes, int]:
        place = f"{self.address}/{quote(name, safe='')}" if name else self.address
        try:
            with urlopen(Request(f"{place}?{urlencode(query)}", content, method=method)) as answer:
                return answer.read(), int(answer.headers.get("x-goog-generation", 0))
        except HTTPError as error:
            raise KeyError(name) from error


@contextmanager
def opened() -> Iterator[Bucket]:
    """Put a bucket in place of gs:// inside of the block; its `address` is for `joined` in other processes."""
    bucket = Bucket()
    server = ThreadingHTTPServer(("localhost", 0), type("Handler", (_Handler,), {"bucket": bucket}))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    bucket.address = f"http://localhost:{server.server_port}"
    with _in_place(bucket, bucket.address):
        yield bucket
    server.shutdown()
    server.server_close()


@contextmanager
def joined(address: str) -> Iterator[Bucket]:
    """Put the bucket that another process has opened in place of gs:// inside of the block."""
    with _in_place(RemoteBucket(address), address) as bucket:
        yield bucket


@contextmanager
def _in_place(bucket: Bucket, address: str) -> Iterator[Bucket]:
    """Put a bucket in place of gs:// inside of the block, for TensorStore by its address."""
    google, storage = types.ModuleType("google.cloud"), types.ModuleType("google.cloud.storage")
    storage.Client = lambda: types.SimpleNamespace(get_bucket=lambda name: None)  # Orbax asks for its folders
    google.storage = storage
    local = gpath._GPath._backend.fget
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "token")
        patch.setitem(sys.modules, "google.cloud", google)
        patch.setitem(sys.modules, "google.cloud.storage", storage)
        which = property(lambda path: bucket if path._uri_scheme == "gs" else local(path))
        patch.setattr(gpath._GPath, "_backend", which)
        yield bucket


class _Handler(BaseHTTPRequestHandler):
    """Google's JSON interface of a store, as far as TensorStore uses it."""

    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def do_GET(self) -> None:
        place, query = self._request()
        if problem := self._problem():
            return self._answer(*problem)
        if place is None:
            items = [
                {"name": name}
                for name in sorted(self.bucket.objects)
                if name.startswith(query.get("prefix", ""))
                and name >= query.get("startOffset", "")
                and ("endOffset" not in query or name < query["endOffset"])
            ]
            return self._answer(200, json.dumps({"items": items}).encode())
        if place not in self.bucket.objects:
            return self._answer(404)
        content, generation = self.bucket.objects[place]
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304)
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            return self._answer(412)
        if query.get("alt") != "media":
            return self._answer(200, self._resource(place), generation)
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(content)) + 1, len(content))
            limits = f"bytes {start}-{stop - 1}/{len(content)}"
            return self._answer(206, content[start:stop], generation, limits)
        return self._answer(200, content, generation)

    def do_POST(self) -> None:
        _, query = self._request()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if problem := self._problem():
            return self._answer(*problem)
        wanted = query.get("ifGenerationMatch")
        generation = self.bucket.put(query["name"], content, None if wanted is None else int(wanted))
        self._answer(412 if generation is None else 200, self._resource(query["name"]))

    def do_DELETE(self) -> None:
        place, query = self._request()
        with self.bucket.lock:
            known = self.bucket.objects.get(place)
            if known and query.get("ifGenerationMatch", str(known[1])) == str(known[1]):
                del self.bucket.objects[place]
                return self._answer(204)
        return self._answer(412 if known else 404)

    def _problem(self) -> tuple[int, bytes] | None:
        """The code and the content of the answer to a request that is refused."""
        if "/b/bucket/" in self.path and not self.bucket.refuses:
            return None
        code, message = (403, "no access") if self.bucket.refuses else (404, "The specified bucket does not exist.")
        return code, json.dumps({"error": {"code": code, "message": message}}).encode()

    def _request(self) -> tuple[str | None, dict[str, str]]:
        """The object of a request, None for all, and its other arguments."""
        address = urlsplit(self.path)
        place = address.path.partition("/o/")[2]
        return unquote(place) or None, {name: values[0] for name, values in parse_qs(address.query).items()}

    def _resource(self, name: str) -> bytes:
        content, generation = self.bucket.objects[name]
        return json.dumps({"name": name, "generation": str(generation), "size": str(len(content))}).encode()

    def _answer(self, code: int, content: bytes = b"", generation: int | None = None, limits: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        if generation is not None:
            self.send_header("x-goog-generation", str(generation))
        if limits:
            self.send_header("Content-Range", limits)
        self.end_headers()
        if code not in (204, 304):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
