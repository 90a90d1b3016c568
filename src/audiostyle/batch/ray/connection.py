"""A connection to Ray: found or started, quiet, without statistics, and gone in the end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from audiostyle.batch.ray.cluster import INSTALL, Cluster, Node
from audiostyle.errors import EngineError, MissingPackageError

STORE_BYTES = 200 << 20  # of the object store of a cluster that is started here: little is sent


def import_ray() -> Any:
    """Import Ray.

    Returns
    -------
    module

    Raises
    ------
    MissingPackageError
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Without GPUs for a worker, TensorFlow would take what it finds: Ray shall hide them.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    try:
        import ray
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingPackageError(f"--engine ray needs Ray ({reason}): {INSTALL}") from None
    return ray


@contextlib.contextmanager
def connected(cluster: Cluster, threads: int, verbose: bool) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine, for the time being.

    A connection that the caller has is used, and kept.

    Parameters
    ----------
    cluster : Cluster
    threads : int
        Of a worker; 0 if nobody said.
    verbose : bool
        Show what Ray and the workers print.

    Yields
    ------
    module
        Ray.

    Raises
    ------
    EngineError
        If there is no such cluster, or it runs other versions.
    MissingPackageError
    """
    with _kept_signals():
        ray = import_ray()
        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {
            "log_to_driver": verbose,
            "logging_level": logging.INFO if verbose else logging.ERROR,
        }
        if cluster.address is None:
            options |= {
                "address": "local",  # not the one that may run on this machine
                "num_cpus": cluster.local_cpus(threads),
                "include_dashboard": False,
            }
            if not cluster.return_audio:
                options["object_store_memory"] = STORE_BYTES
        else:
            options["address"] = cluster.address
    try:
        with _kept_signals():
            _connect(ray, options)
        with _silenced(ray, verbose):
            yield ray
    finally:
        with _kept_signals():
            ray.shutdown()


def _connect(ray: Any, options: dict[str, Any]) -> None:
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises RuntimeError, ConnectionError, ValueError and others
        reason = " ".join(str(error).split())
        where = options["address"]
        if "ersion mismatch" in reason:
            raise EngineError(
                f"Ray cluster {where}: {reason[:400]} Install the same versions on all machines"
            ) from None
        hint = "" if where == "local" else "; start one with: ray start --head"
        raise EngineError(f"Ray cluster {where}: cannot be used ({reason[:400]}){hint}") from None


@contextlib.contextmanager
def _silenced(ray: Any, verbose: bool) -> Iterator[None]:
    """Keep Ray from printing on standard output, where events for programs go.

    It says there that a worker died, whatever it was told of logs. There is no public switch.
    """
    module = getattr(getattr(ray, "_private", None), "worker", None)
    printing = getattr(module, "print_to_stdstream", None)
    if verbose or printing is None:
        yield
        return
    module.print_to_stdstream = lambda *_, **__: None  # type: ignore[union-attr]
    try:
        yield
    finally:
        module.print_to_stdstream = printing  # type: ignore[union-attr]


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Give the signals back that Ray takes over when it connects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    saved = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in saved.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def alive_nodes(ray: Any) -> list[Node]:
    """List the machines of a cluster, as they are now.

    Parameters
    ----------
    ray : object

    Returns
    -------
    list of Node
    """
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(have.get("CPU", 0.0), have.get("GPU", 0.0)) for have in found]
