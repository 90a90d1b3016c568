"""Connection to Ray: join or start a cluster, keep Ray quiet, and disconnect at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from typing import Any

from audiostyle.batch.ray.cluster import INSTALL, Cluster, Node
from audiostyle.errors import EngineError, MissingPackageError

STORE_BYTES = 200 << 20  # object store of a cluster that is started here and stores no inputs


def import_ray() -> Any:
    """Import Ray, without usage statistics."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A worker with num_gpus=0 must not see the GPUs of the others: TensorFlow would use them.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    try:
        import ray
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingPackageError(f"--engine ray needs Ray ({reason}): {INSTALL}") from None
    return ray


@contextlib.contextmanager
def connected(cluster: Cluster, threads: int, verbose: bool) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster; a connection that already exists is kept.

    `verbose` shows the output of Ray and of the workers. Raises an `EngineError` if the cluster
    does not exist or has other versions.
    """
    with _kept_signals():
        ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {
        "address": cluster.address or "local",  # local: not one that may run on this machine
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
    }
    if cluster.address is None:
        options |= {"num_cpus": cluster.local_cpus(threads), "include_dashboard": False}
        if not cluster.return_audio:
            options["object_store_memory"] = STORE_BYTES
    try:
        with _kept_signals():
            _connect(ray, options)
        with contextlib.nullcontext() if verbose else _silenced(ray):
            yield ray
    finally:
        with _kept_signals():
            ray.shutdown()


def _connect(ray: Any, options: dict[str, Any]) -> None:
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises RuntimeError, ConnectionError, ValueError and others
        reason, address = " ".join(str(error).split())[:400], options["address"]
        if "ersion mismatch" in reason:
            raise EngineError(
                f"Ray cluster {address}: {reason} Install the same versions on all machines"
            ) from None
        hint = "" if address == "local" else "; start one with: ray start --head"
        raise EngineError(f"Ray cluster {address}: cannot be used ({reason}){hint}") from None


@contextlib.contextmanager
def _silenced(ray: Any) -> Iterator[None]:
    """Keep standard output, where events for programs go, free of Ray's messages.

    Ray prints there that a worker died, whatever its logging options, and has no public switch.
    """
    module: Any = getattr(getattr(ray, "_private", None), "worker", None)
    original = getattr(module, "print_to_stdstream", None)
    if original:
        module.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        if original:
            module.print_to_stdstream = original


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Restore the signal handlers that Ray replaces when it connects."""
    saved = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in saved.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def alive_nodes(ray: Any) -> list[Node]:
    """List the machines of the connected cluster as they are now."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(have.get("CPU", 0.0), have.get("GPU", 0.0)) for have in found]
