"""Ray cluster: what is requested of it, and how workers share it. Does not import Ray."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

from audiostyle.errors import ConfigError, DeviceError, EngineError, MissingPackageError
from audiostyle.nn import device as nn_device

INSTALL = 'pip install "audiostyle[ray]"'
CPUS_PER_WORKER = 2  # without GPUs: the setting of the figures in docs/performance.md
MAX_WORKERS = 10_000


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs that Ray may assign on a machine of a cluster."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Layout:
    """Number of workers, and the resources of each."""

    workers: int
    cpus: int  # also the threads of a worker, unless a number of threads is requested
    gpus: float
    capacity: int  # workers that fit into the cluster as it is now


@dataclass(frozen=True)
class Cluster:
    """Workers on a Ray cluster, as the engine of a batch.

    Attributes
    ----------
    address : str or None
        ``auto``, or ``HOST:PORT`` of a running cluster. None starts a cluster on this machine and
        stops it at the end.
    workers : int or None
        Number of workers; None for as many as fit.
    gpus_per_worker : float or None
        GPUs per worker, also a fraction of one. None for 1 if the cluster has GPUs, else 0.
    cpus_per_worker : int or None
        CPUs per worker; None for an equal share.
    return_audio : bool
        Send inputs to the workers and outputs back, for machines without the driver's folders.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    cpus_per_worker: int | None = None
    return_audio: bool = False

    def check(self, device: str = "auto") -> None:
        """Check the values, as far as that is possible without connecting to the cluster."""
        for name, low, high in (("workers", 1, MAX_WORKERS), ("cpus_per_worker", 1, 1024)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name}={value} must be from {low} to {high}")
        gpus = self.gpus_per_worker
        if gpus is not None:
            if not (math.isfinite(gpus) and 0 <= gpus <= 64):
                raise ConfigError(f"gpus_per_worker={gpus:g} must be from 0 to 64")
            if gpus > 1 and gpus != int(gpus):
                raise ConfigError(f"gpus_per_worker={gpus:g}: above 1 it must be a whole number")
        if self.address is not None and "://" in self.address:
            raise ConfigError(
                f"ray_address={self.address!r} is not supported: run the command on a machine of "
                "the cluster, with auto or HOST:PORT"
            )
        kind, number = nn_device.parse_device(device)
        if number:
            raise ConfigError(
                f"device={device!r}: Ray assigns each worker its GPU, which it sees as gpu:0; use "
                "--device gpu"
            )
        if kind == "gpu" and gpus == 0:
            raise ConfigError("device='gpu' and gpus_per_worker=0 contradict each other")
        if importlib.util.find_spec("ray") is None:
            raise MissingPackageError(f"--engine ray needs Ray, which is not installed: {INSTALL}")

    def local_cpus(self, threads: int) -> int:
        """Return the CPUs of a cluster on this machine: all cores, or what its workers need."""
        needed = (self.workers or 1) * (self.cpus_per_worker or threads or 1)
        return max(nn_device.count_cores(), needed)

    def lay_out(self, nodes: Sequence[Node], threads: int, device: str) -> Layout:
        """Divide the machines among workers with `threads` threads each (0 if not requested).

        Raises a `DeviceError` if GPUs are requested and a cluster on this machine has none, and an
        `EngineError` if no worker fits, or fewer than requested on this machine.
        """
        all_gpus = sum(node.gpus for node in nodes)
        gpus = self.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if all_gpus and device != "cpu" else 0.0
        if (gpus or device == "gpu") and not all_gpus and self.address is None:
            raise DeviceError(
                f"gpus_per_worker={gpus:g}, device={device!r}: Ray finds no GPU on this machine; "
                "use --gpus-per-worker 0 --device cpu"
            )
        cpus = self.cpus_per_worker or threads or self._share_cpus(nodes, gpus)
        capacity = _capacity(nodes, cpus, gpus)
        workers = self.workers or capacity
        if not workers or (self.address is None and workers > capacity):
            found = f"{sum(node.cpus for node in nodes):g} CPUs and {all_gpus:g} GPUs"
            raise EngineError(
                f"{workers or 1} workers with {cpus} CPUs and {gpus:g} GPUs each: the cluster of "
                f"{len(nodes)} machines has {found}; use less of --workers, --cpus-per-worker or "
                "--gpus-per-worker"
            )
        return Layout(workers, cpus, gpus, capacity)

    def _share_cpus(self, nodes: Sequence[Node], gpus: float) -> int:
        """Return the CPUs per worker if neither they nor threads are requested."""
        if gpus:
            shares = [node.cpus * gpus / node.gpus for node in nodes if node.gpus >= gpus]
            return max(int(min(shares, default=1)), 1)
        most = int(max((node.cpus for node in nodes), default=1))
        if self.workers is None:
            return max(min(CPUS_PER_WORKER, most), 1)
        for cpus in range(most, 1, -1):
            if _capacity(nodes, cpus, gpus) >= self.workers:
                return cpus
        return 1


def _capacity(nodes: Sequence[Node], cpus: int, gpus: float) -> int:
    """Count the workers that fit; none is spread over two machines."""
    if not gpus:
        return sum(int(node.cpus // cpus) for node in nodes)
    per_gpu = int(1 / gpus + 1e-9)  # 0 if a worker needs several GPUs
    return sum(
        min(
            int(node.cpus // cpus),
            per_gpu * int(node.gpus) if per_gpu else int(node.gpus // gpus),
        )
        for node in nodes
    )
