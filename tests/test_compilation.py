"""Where compiled programs are kept."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from wsol_jax.compilation import keep_compiled


@pytest.fixture(autouse=True)
def restored():
    """The cache of the tests, put back."""
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)
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


def test_a_folder_of_ones_own_is_used_at_once(tmp_path, monkeypatch):
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    keep_compiled(str(tmp_path / "mine"))
    jax.jit(lambda x: 3 * x + len(str(tmp_path)))(1.0).block_until_ready()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    assert list((tmp_path / "mine").iterdir())


def test_a_folder_that_cannot_be_created_is_only_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    before = place()
    keep_compiled(str(tmp_path / "file" / "below"))
    assert "compiled programs are not kept" in caplog.text and place() == before
