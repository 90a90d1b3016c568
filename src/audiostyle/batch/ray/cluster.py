"""What is asked of a Ray cluster, and how its machines are divided among workers. Needs no Ray."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

from audiostyle.errors import ConfigError, DeviceError, EngineError, MissingPackageError
from audiostyle.nn import device as nn_device

INSTALL = 'pip install "audiostyle[ray]"'
CPUS_PER_WORKER = 2  # without GPUs: what docs/performance.md is measured with
MAX_WORKERS = 10_000


@dataclass(frozen=True)
class Node:
    """A machine of a cluster: how many CPUs and GPUs Ray may give away there."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Layout:
    """How many workers there are, and what each of them gets.

    Attributes
    ----------
    workers : int
    cpus : int
        Also the threads of a worker, unless a number of threads was asked for.
    gpus : float
    room : int
        How many the cluster holds as it is now.
    """

    workers: int
    cpus: int
    gpus: float
    room: int


@dataclass(frozen=True)
class Cluster:
    """Workers on Ray, as the engine of a batch.

    Attributes
    ----------
    address : str or None
        ``auto``, or ``HOST:PORT`` of a cluster that runs; None starts one on this machine, and
        stops it in the end.
    workers : int or None
        None stands for as many as there is room for.
    gpus_per_worker : float or None
        Parts of a GPU are allowed. None stands for 1 if the cluster has GPUs, else 0.
    cpus_per_worker : int or None
        None divides what there is.
    return_audio : bool
        Workers do not see the driver's folders: inputs are sent to them, and sounds sent back.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    cpus_per_worker: int | None = None
    return_audio: bool = False

    def check(self, device: str = "auto") -> None:
        """Raise an error if this cannot be had whatever the cluster is.

        Parameters
        ----------
        device : str

        Raises
        ------
        ConfigError
            If a value cannot be right.
        MissingPackageError
            If Ray is not installed.
        """
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
                f"ray_address={self.address!r} is not taken: run the command on a machine of the "
                "cluster, with auto or HOST:PORT"
            )
        kind, number = nn_device.parse_device(device)
        if number:
            raise ConfigError(
                f"device={device!r}: Ray gives each worker its GPU, which it sees as gpu:0; use "
                "--device gpu"
            )
        if kind == "gpu" and gpus == 0:
            raise ConfigError("device='gpu' and gpus_per_worker=0 contradict each other")
        if importlib.util.find_spec("ray") is None:
            raise MissingPackageError(f"--engine ray needs Ray, which is not installed: {INSTALL}")

    def local_cpus(self, threads: int) -> int:
        """Say how many CPUs a cluster on this machine shall claim; no fewer than its workers do.

        Parameters
        ----------
        threads : int

        Returns
        -------
        int
        """
        wanted = (self.workers or 1) * (self.cpus_per_worker or threads or 1)
        return max(nn_device.count_cores(), wanted)

    def lay_out(self, nodes: Sequence[Node], threads: int, device: str) -> Layout:
        """Divide a cluster among workers.

        Parameters
        ----------
        nodes : sequence of Node
        threads : int
            That were asked for; 0 stands for none.
        device : str

        Returns
        -------
        Layout

        Raises
        ------
        DeviceError
            If GPUs are asked for by name, and there are none.
        EngineError
            If there is no room for a single worker, and nobody said how many there shall be.
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
        cpus = self.cpus_per_worker or threads or self._share(nodes, gpus)
        room = _room(nodes, cpus, gpus)
        workers = self.workers or room
        if not workers or (self.address is None and workers > room):
            found = f"{sum(node.cpus for node in nodes):g} CPUs and {all_gpus:g} GPUs"
            raise EngineError(
                f"{workers or 1} workers with {cpus} CPUs and {gpus:g} GPUs each: the cluster of "
                f"{len(nodes)} machines has {found}; use less of --workers, --cpus-per-worker or "
                "--gpus-per-worker"
            )
        return Layout(workers, cpus, gpus, room)

    def _share(self, nodes: Sequence[Node], gpus: float) -> int:
        """Say how many CPUs a worker gets if nobody says it."""
        if gpus:
            shares = [node.cpus * gpus / node.gpus for node in nodes if node.gpus >= gpus]
            return max(int(min(shares, default=1)), 1)
        most = int(max((node.cpus for node in nodes), default=1))
        if self.workers is None:
            return max(min(CPUS_PER_WORKER, most), 1)
        for cpus in range(most, 1, -1):
            if _room(nodes, cpus, gpus) >= self.workers:
                return cpus
        return 1


def _room(nodes: Sequence[Node], cpus: int, gpus: float) -> int:
    """Count the workers that fit; none is spread over two machines."""
    room = 0
    for node in nodes:
        fits = int(node.cpus // cpus)
        if gpus:
            whole = int(1 / gpus + 1e-9) * int(node.gpus) if gpus < 1 else int(node.gpus // gpus)
            fits = min(fits, whole)
        room += fits
    return room
