"""Engine that runs the jobs of a batch on a Ray cluster. Only the driver writes the journal."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from audiostyle.batch.engine import Event, Note, Report
from audiostyle.batch.plan import Job
from audiostyle.batch.ray import connection, worker
from audiostyle.batch.ray.cluster import Cluster, Layout
from audiostyle.batch.ray.pool import WorkerPool
from audiostyle.batch.ray.worker import WorkerSetup
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.utils.atomic_files import part_file


class RayEngine:
    """Runs jobs on actors, each of which keeps the network, its traces and styles in memory."""

    make_worker: Callable[..., Any] = staticmethod(worker.make_pair_worker)
    """Creates a `Worker` on its machine; sent there by name."""

    def __init__(self, request: BatchRequest, config: TransferConfig, cluster: Cluster) -> None:
        self._request = request
        self._config = config
        self._cluster = cluster

    def run(self, jobs: Sequence[Job], report: Report) -> Iterator[Event]:
        """Run jobs; see `audiostyle.batch.engine.Engine`.

        If `report` raises `Interrupted`, workers abandon their pairs at the next step, or finish
        those of which only the sound is left to synthesise; raised elsewhere, it abandons them now.
        """
        request, cluster = self._request, self._cluster
        with (
            connection.connected(cluster, request.threads, request.verbose) as ray,
            part_file(request.out_dir / "token") as token,
        ):
            nodes = connection.alive_nodes(ray)
            layout = cluster.lay_out(nodes, request.threads, request.device)
            report(Note(_describe(layout, len(nodes))))
            use_cpu = not layout.gpus and any(node.gpus for node in nodes)
            worker_request = dataclasses.replace(
                request,
                threads=request.threads or layout.cpus,
                device="cpu" if use_cpu else request.device,
            )
            setup = WorkerSetup(
                worker_request,
                self._config,
                type(self).make_worker,
                os.getcwd(),
                os.path.abspath(token),
                cluster.return_audio,
            )
            yield from WorkerPool(ray, layout, setup, jobs).run(report)


def _describe(layout: Layout, machines: int) -> str:
    each = f"{layout.cpus} CPU" + (f", {layout.gpus:g} GPU" if layout.gpus else "")
    text = f"Ray: {layout.workers} x ({each}) on {machines} machine{'s'[: machines > 1]}"
    if layout.workers > layout.capacity:
        text += f"; there is room for {layout.capacity} now, the others wait for more machines"
    return text
