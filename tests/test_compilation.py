"""Where compiled programs are kept."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from wsol_jax.compilation import keep_compiled
from wsol_jax.config import check_config, default_config
from wsol_jax.errors import InputError


@pytest.fixture(autouse=True)
def restored():
    """The cache of the tests, put back."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_enable_xla_caches")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def place() -> str | None:
    return jax.config.jax_compilation_cache_dir


def test_a_folder_that_jax_has_already_stays():
    before = place()
    keep_compiled("auto")
    assert place() == before is not None


def test_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    keep_compiled("")
    assert place() is None
    keep_compiled("auto")
    assert place() == str(tmp_path / "wsol_jax" / "compiled")


@contextmanager
def all_kept() -> Iterator[list[str]]:
    """Keep programs that compile quickly as well; yield the events of JAX."""
    least, events = jax.config.jax_persistent_cache_min_compile_time_secs, []
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    def listen(event: str, **_: object) -> None:
        events.append(event)

    jax.monitoring.register_event_listener(listen)
    yield events
    jax.monitoring.unregister_event_listener(listen)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


def test_a_folder_of_ones_own_is_used_at_once(tmp_path):
    keep_compiled(str(tmp_path / "mine"))
    with all_kept():
        jax.jit(lambda x: 3 * x + len(str(tmp_path)))(1.0).block_until_ready()
    assert list((tmp_path / "mine").iterdir())


def test_a_store_keeps_programs(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep_compiled("gs://bucket/compiled")
    assert place() == "gs://bucket/compiled" and jax.config.jax_persistent_cache_enable_xla_caches == "none"
    for _ in range(2):
        with all_kept() as events:
            jax.jit(lambda x: 3 * x + 10)(1.0).block_until_ready()
    assert [name for name in store.objects if name.startswith("compiled/jit_")]
    assert "/jax/compilation_cache/cache_hits" in events
    assert not list(tmp_path.iterdir())


def test_a_store_that_refuses_is_only_a_warning(store, caplog):
    before, store.refuses = place(), True
    keep_compiled("gs://bucket/compiled")
    assert "compiled programs are not kept: gs://bucket/compiled (" in caplog.text and "403" in caplog.text
    assert place() == before


def test_an_unknown_kind_of_store_is_one_line():
    config = default_config()
    config.compilation_cache = "gcs://bucket/compiled"
    with pytest.raises(InputError, match=r"--config\.compilation_cache: gcs://bucket/compiled: no such kind of store"):
        check_config(config, 1)


def test_a_folder_that_cannot_be_created_is_only_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    before = place()
    keep_compiled(str(tmp_path / "file" / "below"))
    assert "compiled programs are not kept" in caplog.text and place() == before
