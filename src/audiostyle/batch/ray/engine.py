"""The jobs of a batch on workers of a Ray cluster. The driver, here, alone writes the journal."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from audiostyle.batch.engine import ENVIRONMENT, Abandoned, Event, Note, Report
from audiostyle.batch.plan import Job
from audiostyle.batch.ray import connection, worker
from audiostyle.batch.ray.cluster import Cluster, Layout
from audiostyle.batch.ray.pool import WorkerPool
from audiostyle.batch.ray.worker import WorkerSetup
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import Interrupted
from audiostyle.utils import atomic_files


class RayEngine:
    """Carries out jobs on actors, each of which keeps network, traces and styles.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig
    cluster : Cluster
    """

    make_worker: Callable[..., Any] = staticmethod(worker.make_pair_worker)
    """What makes a `Worker`, on its machine; sent there by its name."""

    def __init__(self, request: BatchRequest, config: TransferConfig, cluster: Cluster) -> None:
        self._request = request
        self._config = config
        self._cluster = cluster

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Carry out jobs; see `audiostyle.batch.engine.Engine`.

        `Interrupted` from `report` gives the pairs that are being made up at their next step, or
        finishes them if only their sound is left to make; from anywhere else it abandons them now.
        """
        request, cluster = self._request, self._cluster
        with (
            connection.connected(cluster, request.threads, request.verbose) as ray,
            _token(request.out_dir, needed=not cluster.return_audio) as token,
        ):
            nodes = connection.alive_nodes(ray)
            layout = cluster.lay_out(nodes, request.threads, request.device)
            report(Note(_describe(layout, len(nodes))))
            hidden = not layout.gpus and any(node.gpus for node in nodes)
            order = WorkerSetup(
                dataclasses.replace(
                    request,
                    threads=request.threads or layout.cpus,
                    device="cpu" if hidden else request.device,  # the GPUs are others'
                ),
                self._config,
                type(self).make_worker,
                os.getcwd(),
                token,
                _inputs(jobs) if cluster.return_audio else [],
                cluster.return_audio,
            )
            pool = WorkerPool(ray, layout, order, jobs)
            try:
                yield from pool.run(report)
            except (Interrupted, KeyboardInterrupt, *ENVIRONMENT):
                pool.close()
                for job in pool.in_flight():
                    if job.compute:
                        yield Abandoned(job)
                raise
            finally:
                pool.close()


def _describe(layout: Layout, machines: int) -> str:
    each = f"{layout.cpus} CPU" + (f", {layout.gpus:g} GPU" if layout.gpus else "")
    text = f"Ray: {layout.workers} x ({each}) on {machines} machine{'s'[: machines > 1]}"
    if layout.workers > layout.room:
        text += f"; there is room for {layout.room} now, the others wait for more machines"
    return text


@contextlib.contextmanager
def _token(folder: Path, needed: bool) -> Iterator[str]:
    """Make a file that only those see who share the folder of the outputs."""
    if not needed:
        yield ""
        return
    with atomic_files.part_file(folder / "token") as token:
        yield os.path.abspath(token)


def _inputs(jobs: Sequence[Job]) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for job in jobs:
        for path in job.digests:
            if path not in found:
                with contextlib.suppress(OSError):
                    found[path] = os.path.getsize(path)
    return list(found.items())
