"""Ray actor of a worker.

Ray sends this module to the machines as code (pickled by value), so that it also runs where
audiostyle is missing or has another version, and can say so. So no import of audiostyle at the top.
"""

from __future__ import annotations

import contextlib
from typing import Any


def find_versions() -> dict[str, str]:
    """Return the versions on this machine by name, ``none`` for a package that is not installed."""
    import importlib.metadata
    import platform

    versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
    versions |= {"audiostyle": "none", "tensorflow": "none"}
    with contextlib.suppress(ImportError):  # it need not be an installed package
        import audiostyle

        versions["audiostyle"] = audiostyle.__version__
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        versions["tensorflow"] = importlib.metadata.version("tensorflow")
    return versions


class WorkerActor:
    """Compares versions, then passes calls on to an `audiostyle.batch.ray.worker.ClusterWorker`."""

    def __init__(self) -> None:
        import signal
        import threading

        # Ctrl-C reaches all processes of a terminal, but the driver decides when a worker stops.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._worker: Any = None

    def start(self, versions: dict[str, str], setup: list[Any]) -> tuple[str, str]:
        """Create the worker, and return the name of the host and why it cannot work, or ``""``.

        `setup` holds a reference in a list, which Ray leaves alone: a machine with other versions
        might be unable to unpickle the object.
        """
        import socket

        host, found = socket.gethostname(), find_versions()
        for name, version in versions.items():
            if found.get(name) != version:
                reason = f"has {name} {found.get(name)}, the driver has {name} {version}"
                return host, f"{reason}; install the same version on all machines"
        import ray

        from audiostyle.batch.ray.worker import ClusterWorker

        self._worker = ClusterWorker(ray.get(setup[0]))
        return host, self._worker.start()

    def run(self, job: Any, sent: Any = None) -> Any:
        """Run a job; see `audiostyle.batch.ray.worker.ClusterWorker.run`."""
        return self._worker.run(job, sent)

    def stop(self) -> None:
        """Abandon the current job and all that follow. Runs concurrently with `run`."""
        if self._worker is not None:
            self._worker.stop()

    def close(self) -> None:
        """Remove temporary files."""
        self._worker.close()
