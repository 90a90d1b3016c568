"""How a cluster is divided, and who gets which pair: decided without Ray."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch.inputs import BatchInput
from audiostyle.batch.pairing import Pair
from audiostyle.batch.plan import Job
from audiostyle.batch.ray.cluster import Cluster, Layout, Node
from audiostyle.batch.ray.job_queue import JobQueue
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
def test_a_cluster_is_divided(
    cluster: Cluster, nodes: list[Node], threads: int, device: str, expected: Layout
) -> None:
    assert cluster.lay_out(nodes, threads, device) == expected


def test_what_there_is_no_room_for_is_refused() -> None:
    with pytest.raises(EngineError, match=r"2 workers with 4 CPUs and 0 GPUs each: .* 4 CPUs"):
        Cluster(workers=2, cpus_per_worker=4).lay_out([Node(4, 0)], 0, "auto")
    with pytest.raises(EngineError, match="1 workers with 8 CPUs"):
        Cluster("auto", cpus_per_worker=8).lay_out(TWO_OF_FOUR, 0, "auto")
    for cluster, device in ((Cluster(), "gpu"), (Cluster(gpus_per_worker=1), "auto")):
        with pytest.raises(DeviceError, match="finds no GPU"):
            cluster.lay_out(TWO_OF_FOUR, 0, device)


def test_a_cluster_on_this_machine_has_room_for_what_was_asked_for() -> None:
    cores = nn_device.count_cores()
    assert Cluster().local_cpus(0) == cores
    assert Cluster(workers=cores + 1).local_cpus(0) == cores + 1
    assert Cluster(workers=cores).local_cpus(3) == 3 * cores


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--engine=cloud"], "cloud"),
        (["--workers=2"], "--workers is for --engine ray"),
        (["--ray-address=auto"], "--ray-address is for --engine ray"),
        (["--return-audio"], "--return-audio is for --engine ray"),
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
def test_what_cannot_be_is_a_usage_error(
    options: list[str], named: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not Path("out").exists()


def test_without_ray_the_line_to_install_it_is_named(
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


def job(content: int, style: int) -> Job:
    sources = [
        BatchInput(f"{side}{i}", "", f"{side}{i}", Path(f"{side}{i}"), (Path(f"{side}{i}"),))
        for side, i in (("c", content), ("s", style))
    ]
    pair = Pair(f"c{content}__s{style}.wav", *sources)
    return Job(pair, Path(pair.id), "f", {}, True, False, 1.0, 1)


def style_of(dealt: Job | None) -> Any:
    assert dealt is not None
    return dealt.pair.style.name


def test_a_style_stays_with_a_worker_while_there_are_others() -> None:
    dealer = JobQueue([job(content, style) for style in range(3) for content in range(4)])
    taken = [(worker, style_of(dealer.deal(worker))) for _ in range(4) for worker in (0, 1)]
    assert [style for worker, style in taken if worker == 0] == ["s0"] * 4
    assert [style for worker, style in taken if worker == 1] == ["s1"] * 4
    assert [style_of(dealer.deal(worker)) for worker in (0, 1, 0, 1)] == ["s2"] * 4
    assert dealer.empty and dealer.deal(0) is dealer.deal(1) is None


def test_every_job_is_dealt_once_whatever_comes_back() -> None:
    jobs = [job(content, style) for style in range(5) for content in range(7)]
    dealer = JobQueue(jobs)
    seen = []
    for turn in range(1000):
        dealt = dealer.deal(turn % 3)
        if dealt is None:
            break
        if turn % 5 == 4:
            dealer.back(dealt)
        else:
            seen.append(dealt.pair.id)
    assert dealer.empty
    assert sorted(seen) == sorted(entry.pair.id for entry in jobs)


def test_what_was_lost_is_tried_after_all_others_and_elsewhere() -> None:
    bad, good = job(0, 0), job(1, 0)
    dealer = JobQueue([bad, good])
    assert dealer.deal(0) is bad
    assert dealer.lose(bad, 0)
    assert dealer.deal(0, others=[0, 1]) is good
    assert dealer.deal(0, others=[0, 1]) is None
    assert not dealer.empty
    assert dealer.deal(1, others=[0, 1]) is bad
    assert not dealer.lose(bad, 1), "two workers died on it"
    assert dealer.empty


def test_a_worker_that_is_alone_tries_itself() -> None:
    dealer = JobQueue([job(0, 0)])
    lost = dealer.deal(0)
    assert lost is not None and dealer.lose(lost, 0)
    assert dealer.deal(0, others=[0]) is lost
