"""Requests to a cluster and its layout, without Ray."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from audiostyle.batch.ray.cluster import Cluster, Layout, Node
from audiostyle.errors import DeviceError, EngineError
from audiostyle.nn import device as nn_device
from tests.support.fakes import run

EIGHT_GPUS = [Node(64, 8)]
TWO_OF_FOUR = [Node(4, 0), Node(4, 0)]


@pytest.mark.parametrize(
    ("cluster", "nodes", "threads", "device", "expected"),
    [
        (Cluster(), EIGHT_GPUS, 0, "auto", Layout(8, 8, 1.0, 8)),
        (Cluster(), EIGHT_GPUS, 2, "auto", Layout(8, 2, 1.0, 8)),
        (Cluster(gpus_per_worker=0.5), EIGHT_GPUS, 0, "gpu", Layout(16, 4, 0.5, 16)),
        (Cluster(gpus_per_worker=2), EIGHT_GPUS, 0, "gpu", Layout(4, 16, 2.0, 4)),
        (Cluster(workers=3), EIGHT_GPUS, 0, "auto", Layout(3, 8, 1.0, 8)),
        (Cluster(), EIGHT_GPUS, 0, "cpu", Layout(32, 2, 0.0, 32)),
        (Cluster(), [*EIGHT_GPUS, Node(16, 0)], 0, "auto", Layout(8, 8, 1.0, 8)),
        (Cluster(), TWO_OF_FOUR, 0, "auto", Layout(4, 2, 0.0, 4)),
        (Cluster(), [Node(1, 0)], 0, "auto", Layout(1, 1, 0.0, 1)),
        (Cluster(workers=2), TWO_OF_FOUR, 0, "auto", Layout(2, 4, 0.0, 2)),
        (Cluster(workers=3), TWO_OF_FOUR, 0, "auto", Layout(3, 2, 0.0, 4)),
        (Cluster(cpus_per_worker=3), TWO_OF_FOUR, 0, "auto", Layout(2, 3, 0.0, 2)),
        (Cluster(cpus_per_worker=3), TWO_OF_FOUR, 1, "auto", Layout(2, 3, 0.0, 2)),
        (Cluster("auto", workers=9), TWO_OF_FOUR, 2, "auto", Layout(9, 2, 0.0, 4)),
    ],
)
def test_layout(
    cluster: Cluster, nodes: list[Node], threads: int, device: str, expected: Layout
) -> None:
    assert cluster.lay_out(nodes, threads, device) == expected


def test_workers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(EngineError, match=r"2 workers with 4 CPUs and 0 GPUs each: .* 4 CPUs"):
        Cluster(workers=2, cpus_per_worker=4).lay_out([Node(4, 0)], 0, "auto")
    with pytest.raises(EngineError, match="1 workers with 8 CPUs"):
        Cluster("auto", cpus_per_worker=8).lay_out(TWO_OF_FOUR, 0, "auto")
    for cluster, device in ((Cluster(), "gpu"), (Cluster(gpus_per_worker=1), "auto")):
        with pytest.raises(DeviceError, match="finds no GPU"):
            cluster.lay_out(TWO_OF_FOUR, 0, device)


def test_a_cluster_on_this_machine_holds_the_requested_workers() -> None:
    cores = nn_device.count_cores()
    assert Cluster().local_cpus(0) == cores
    assert Cluster(workers=cores + 1).local_cpus(0) == cores + 1
    assert Cluster(workers=cores).local_cpus(3) == 3 * cores


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--engine=cloud"], "cloud"),
        (["--workers=2"], "--workers needs --engine ray"),
        (["--ray-address=auto"], "--ray-address needs --engine ray"),
        (["--return-audio"], "--return-audio needs --engine ray"),
        (["--engine=ray", "--workers=0"], "workers=0 must be from 1 to 10000"),
        (["--engine=ray", "--cpus-per-worker=0"], "cpus_per_worker=0 must be from 1 to 1024"),
        (["--engine=ray", "--gpus-per-worker=-1"], "gpus_per_worker=-1 must be from 0 to 64"),
        (["--engine=ray", "--gpus-per-worker=nan"], "gpus_per_worker=nan must be"),
        (["--engine=ray", "--gpus-per-worker=1.5"], "gpus_per_worker=1.5: above 1"),
        (["--engine=ray", "--ray-address=ray://a:1"], "run the command on a machine of the"),
        (["--engine=ray", "--device=gpu:1"], "use --device gpu"),
        (["--engine=ray", "--device=gpu", "--gpus-per-worker=0"], "contradict each other"),
    ],
)
def test_invalid_values_are_usage_errors(
    options: list[str], named: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not Path("out").exists()


def test_without_ray_the_command_to_install_it_is_named(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "ray" else find(name, *rest),
    )
    assert run("--engine=ray") == 4
    assert 'pip install "audiostyle[ray]"' in capsys.readouterr().err
    assert not Path("out").exists()
