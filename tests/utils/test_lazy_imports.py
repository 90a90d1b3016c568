"""What imports find in unusual environments, and that nothing of it stays."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from audiostyle.utils import lazy_imports

NO_CACHE = """
import os, sys
import numba.core.caching as caching
from numba.core import dispatcher

def refuse(*_):
    raise {error}

setattr({place}, {name!r}, refuse)
from audiostyle.utils.lazy_imports import load_librosa
librosa = load_librosa()
import numpy as np
peaks = librosa.util.localmax(np.array([0.0, 1.0, 0.0, 2.0, 1.0]))  # compiled by numba
assert dispatcher.FunctionCache.__name__ == "FunctionCache", "numba is as it was"
print(peaks.astype(int).tolist())
"""


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        ("caching.FunctionCache", "__init__", "RuntimeError('cannot cache function: no locator')"),
        ("caching.IndexDataCacheFile", "load", "PermissionError(13, 'Permission denied')"),
        ("caching.IndexDataCacheFile", "save", "OSError(28, 'No space left on device')"),
    ],
)
def test_librosa_works_where_numba_can_keep_nothing(
    place: str, name: str, error: str, tmp_path: Path
) -> None:
    code = NO_CACHE.format(place=place, name=name, error=error)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}  # so that it has to be written
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[0, 1, 0, 1, 0]\n"), done.stderr


def test_a_user_without_home_has_one_while_modules_are_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: os.environ.get("HOME", path))
    with lazy_imports.import_lock():
        assert os.path.isabs(os.path.expanduser("~"))
    assert "HOME" not in os.environ
    monkeypatch.setenv("HOME", "relative")
    with lazy_imports.import_lock():
        assert os.path.isabs(os.environ["HOME"])
    assert os.environ["HOME"] == "relative"


def test_imports_have_a_temporary_folder_where_none_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", refuse)
    with lazy_imports.import_lock():
        assert tempfile.gettempdir() == os.path.abspath(os.sep)
    with pytest.raises(FileNotFoundError):
        tempfile.gettempdir()


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder that is in use")
def test_imports_have_a_current_folder_after_it_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = os.stat(".")
    folder.rmdir()
    with lazy_imports.import_lock():
        assert os.getcwd() == os.sep
    assert os.path.samestat(os.stat("."), before)


def test_one_thread_imports_at_a_time() -> None:
    inside, most, errors = 0, 0, []

    def use() -> None:
        nonlocal inside, most
        with lazy_imports.import_lock():
            inside += 1
            most = max(most, inside)
            inside -= 1
        try:
            lazy_imports.load_librosa()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, errors) == (1, [])


@pytest.mark.parametrize(
    ("backend", "kept"), [("module://nowhere.backend_inline", None), ("svg", "svg")]
)
def test_figures_are_drawn_with_any_backend(backend: str, kept: str | None) -> None:
    """What a user chose applies to pyplot, if Matplotlib knows it."""
    code = "import io\nfrom audiostyle.utils.lazy_imports import load_matplotlib\n"
    code += "m = load_matplotlib()\nfile = io.BytesIO()\n"
    code += "m.figure.Figure().savefig(file, format='png')\n"
    code += "assert file.getvalue().startswith(b'\\x89PNG')\n"
    code += "print(dict.__getitem__(m.rcParams, 'backend'))"
    done: Any = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert kept is None or done.stdout.strip() == kept


KERAS = """
import gc, sys
from audiostyle.nn.device import load_tensorflow
tf = load_tensorflow({quiet})
assert not {{"keras", "sklearn", "matplotlib"}} & set(sys.modules)
assert "keras.src" not in sys.modules and gc.isenabled()
from tensorflow.keras import layers
assert tf.keras.layers.Dense is layers.Dense
print(layers.Dense(3)(tf.ones((2, 1))).shape)
"""


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [True, False])
def test_keras_is_imported_when_a_plugin_uses_it(quiet: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KERAS.format(quiet=quiet)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "(2, 3)\n"), done.stderr


def test_keras_that_was_imported_before_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = types.ModuleType("keras.src")
    monkeypatch.setitem(sys.modules, "keras.src", loaded)
    with lazy_imports.without_keras():
        assert sys.modules["keras.src"] is loaded
        with pytest.raises(ImportError):
            importlib.import_module("tf_keras.src")
    assert sys.modules["keras.src"] is loaded
    assert "tf_keras.src" not in sys.modules


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_again_as_before(enabled: bool) -> None:
    @lazy_imports.paused_collection()
    def fail() -> None:
        assert not gc.isenabled()
        raise KeyError

    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(KeyError):
            fail()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
