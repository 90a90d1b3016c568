"""What Ray starts on a machine of the cluster, sent there as code.

So it runs even if the audiostyle there is another one, or none, and can say so then. Nothing of
audiostyle may be imported at the top of this file.
"""

from __future__ import annotations

from typing import Any

PACKAGES = ("audiostyle", "tensorflow")


def look() -> dict[str, str]:
    """Say which versions are here. Imports nothing that is large.

    Returns
    -------
    dict of str to str
        By name; ``none`` for what is not installed.
    """
    import importlib.metadata
    import platform

    versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    try:  # what is imported counts, and it need not be installed
        import audiostyle

        versions["audiostyle"] = audiostyle.__version__
    except ImportError:
        versions["audiostyle"] = "none"
    return versions


class WorkerActor:
    """An actor, in which a `audiostyle.batch.ray.worker.ClusterWorker` works once the versions are compared."""

    def __init__(self) -> None:
        import signal
        import threading

        # Ctrl-C reaches all processes of a terminal; here the driver says when to stop.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._maker: Any = None

    def look(self) -> tuple[str, dict[str, str]]:
        """Say what this machine is called, and which versions are here.

        Returns
        -------
        host : str
        versions : dict of str to str
        """
        import socket

        return socket.gethostname(), look()

    def begin(self, order: Any) -> Any:
        """Make ready, and say what of the inputs is not to be seen from here.

        Parameters
        ----------
        order : object

        Returns
        -------
        object
        """
        from audiostyle.batch.ray.worker import ClusterWorker

        self._maker = ClusterWorker(order)
        return self._maker.missing()

    def make(self, job: Any, sent: Any = None) -> Any:
        """Carry out a job; see `audiostyle.batch.ray.worker.ClusterWorker.make`."""
        return self._maker.make(job, sent)

    def stop(self) -> None:
        """Give the current pair up cleanly, and all that come after. Runs beside `make`."""
        if self._maker is not None:
            self._maker.stop()

    def close(self) -> None:
        """Remove what is not needed any more."""
        if self._maker is not None:
            self._maker.close()
