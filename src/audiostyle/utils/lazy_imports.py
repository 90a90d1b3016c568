"""Imports of large libraries on first use: by one thread at a time, in any environment.

Their modules import each other in circles: a second thread would see them half-initialized.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from audiostyle.errors import OutputError
from audiostyle.utils.stderr_capture import capture_stderr

_LOCK = threading.RLock()
LIBROSA_MODULES = ("core.spectrum", "core.constantq", "filters", "feature.spectral", "onset")


@contextlib.contextmanager
def import_lock() -> Iterator[None]:
    """Let one thread import at a time, and give it a current, a temporary and a home folder.

    Some modules ask for these folders when they are imported, though they need nothing there. If
    the current one was removed, no temporary one can be written, or the user has no home, they get
    the root folder, as containers do for unknown users.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            os.getcwd()
        except OSError:
            with contextlib.suppress(OSError):
                folder = os.open(os.curdir, os.O_RDONLY)
                stack.callback(os.close, folder)
                stack.callback(os.fchdir, folder)
                os.chdir(os.sep)
        try:
            tempfile.gettempdir()
        except OSError:
            stack.callback(setattr, tempfile, "tempdir", None)
            tempfile.tempdir = os.path.abspath(os.sep)
        if not os.path.isabs(os.path.expanduser("~")):
            # Only for imports: some would create a folder "~" in the current one, others fail.
            saved = os.environ.get("HOME")
            stack.callback(_set_variable, "HOME", saved)
            os.environ["HOME"] = os.path.abspath(os.sep)
        yield


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@functools.cache
def load_librosa() -> Any:
    """Import librosa and the modules of it that audiostyle uses, with or without numba's cache."""
    names = [f"librosa.{name}" for name in ("util.utils", *LIBROSA_MODULES)]
    with import_lock():
        if not all(name in sys.modules for name in names):
            with _optional_numba_caches():
                for name in names:
                    importlib.import_module(name)
        return sys.modules["librosa"]


@contextlib.contextmanager
def _optional_numba_caches() -> Iterator[None]:
    """Let what is compiled with ``cache=True`` in this block do without a cache.

    numba raises an error where it can write none (no home and a read-only installation, or a full
    disk), and where it may not read one.
    """
    from numba.core import dispatcher
    from numba.core.caching import NullCache
    from numba.np.ufunc import ufuncbuilder, wrappers

    def tolerant(cache_class: Any) -> Any:
        class OptionalCache(cache_class):  # type: ignore[misc]
            def load_overload(self, *arguments: Any) -> Any:
                with contextlib.suppress(OSError):  # files of another user
                    return super().load_overload(*arguments)

            def save_overload(self, *arguments: Any) -> None:
                with contextlib.suppress(OSError):
                    super().save_overload(*arguments)

        def make_cache(py_func: Any) -> Any:
            try:
                return OptionalCache(py_func)
            except (RuntimeError, OSError):
                return NullCache()

        return make_cache

    places = [
        (dispatcher, "FunctionCache"),
        (ufuncbuilder, "FunctionCache"),
        (wrappers, "GufWrapperCache"),
    ]
    saved = [getattr(module, name) for module, name in places]
    try:
        for (module, name), cache_class in zip(places, saved, strict=True):
            setattr(module, name, tolerant(cache_class))
        yield
    finally:
        for (module, name), cache_class in zip(places, saved, strict=True):
            setattr(module, name, cache_class)


@functools.cache
def load_matplotlib() -> Any:
    """Import Matplotlib, with what draws figures to files; MPLBACKEND cannot make it fail.

    A valid MPLBACKEND applies to pyplot as always, which audiostyle does not use.

    Raises
    ------
    OutputError
        If Matplotlib cannot read its configuration, or finds no folder to write to.
    """
    with import_lock():
        try:
            with capture_stderr():  # it logs that it makes a cache of fonts, or where
                _import_matplotlib()
        except (OSError, ValueError) as error:
            raise OutputError(f"figures cannot be drawn: {error}") from None
        return sys.modules["matplotlib"]


def _import_matplotlib() -> None:
    if "matplotlib" not in sys.modules:
        backend = os.environ.pop("MPLBACKEND", "")
        try:
            matplotlib = importlib.import_module("matplotlib")
        finally:
            if backend:
                os.environ["MPLBACKEND"] = backend
        if backend:
            with contextlib.suppress(ValueError):
                matplotlib.rcParams["backend"] = backend
    for name in ("figure", "backends.backend_agg"):
        importlib.import_module(f"matplotlib.{name}")


@contextlib.contextmanager
def without_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras in this block: ``tf.keras`` does so on first use.

    TensorFlow ignores that Keras cannot be imported. Keras, with scikit-learn and Matplotlib, which
    it imports, takes as long as TensorFlow itself, and audiostyle uses nothing of it.
    """
    # Not "keras", which TensorFlow has to find: it would break `import tensorflow.keras` for good.
    hidden = [name for name in ("keras.src", "tf_keras.src") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # to import it is an ImportError
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def paused_collection() -> Iterator[None]:
    """Collect no garbage in this block, or decorated function, whose many objects stay.

    Of an import, or of the tracing of a TensorFlow function, the collector takes a fifth.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
