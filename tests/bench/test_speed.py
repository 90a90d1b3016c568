from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bench.common import describe_machine
from bench.speed import __main__ as speed
from bench.speed import flops, signals, tables
from bench.speed.processes import (
    FIRST_STEP,
    ProcessFailed,
    Usage,
    run_process,
    run_transfer,
    run_worker,
    summarize,
)


def graph_of(function: Any, *shapes: tuple[int, ...], dtype: Any = tf.float32) -> Any:
    specs = [tf.TensorSpec(shape, dtype) for shape in shapes]
    return tf.function(function, autograph=False).get_concrete_function(*specs).graph


# --- counting ----------------------------------------------------------------------------------


def test_a_convolution_costs_two_flops_per_weight_and_position() -> None:
    graph = graph_of(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), (2, 8, 10, 3), (3, 5, 3, 7))
    assert flops.count(graph) == 2 * (2 * 8 * 10 * 7) * (3 * 5 * 3)


def test_a_stride_skips_positions() -> None:
    graph = graph_of(lambda x, k: tf.nn.conv2d(x, k, 2, "VALID"), (1, 9, 9, 4), (3, 3, 4, 6))
    assert flops.count(graph) == 2 * (4 * 4 * 6) * (3 * 3 * 4)


def test_the_gradient_of_the_input_costs_as_much_as_the_convolution() -> None:
    def both(x: Any, k: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.square(tf.nn.conv2d(x, k, 1, "SAME")))
        return tape.gradient(y, x)

    graph = graph_of(both, (1, 6, 8, 64), (3, 3, 64, 128))
    once = 2 * (6 * 8 * 128) * (3 * 3 * 64)
    assert flops.count(graph) == 2 * once
    found = flops.convolutions(graph)
    assert {c.kind: n for c, n in found.items()} == {flops.FORWARD: 1, flops.BACKWARD: 1}
    for convolution in found:
        assert convolution.flops == once
        assert convolution.input == (1, 6, 8, 64) and convolution.output == (1, 6, 8, 128)
        assert convolution.is_wide


def test_the_gradient_of_the_weights_costs_the_same_again() -> None:
    def by_weights(x: Any, k: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(k)
            y = tf.reduce_sum(tf.square(tf.nn.conv2d(x, k, 1, "SAME")))
        return tape.gradient(y, k)

    graph = graph_of(by_weights, (1, 6, 8, 4), (3, 3, 4, 5))
    assert flops.count(graph) == 2 * 2 * (6 * 8 * 5) * (3 * 3 * 4)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_product_costs_two_flops_per_product(transposed: bool) -> None:
    first = (5, 4, 3) if transposed else (5, 3, 4)
    graph = graph_of(lambda a, b: tf.matmul(a, b, transpose_a=transposed), first, (5, 4, 6))
    assert flops.count(graph) == 2 * 5 * 3 * 4 * 6


def test_einsum_costs_two_flops_per_combination_of_indices() -> None:
    graph = graph_of(lambda a, b: tf.einsum("fm,bmtc->bftc", a, b), (3, 4), (2, 4, 5, 6))
    assert flops.count(graph) == 2 * 3 * 4 * 2 * 5 * 6


def test_unknown_sizes_and_loops_are_refused() -> None:
    with pytest.raises(ValueError, match="not static"):
        flops.count(graph_of(lambda a: tf.matmul(a, a), (None, 4, 4)))  # type: ignore[arg-type]
    loop = graph_of(
        lambda a: tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a @ a), (0, a)), (4, 4)
    )
    with pytest.raises(ValueError, match="number of executions"):
        flops.count(loop)


@pytest.mark.parametrize("kind", [flops.FORWARD, flops.BACKWARD])
def test_a_plain_convolution_runs(kind: str) -> None:
    shape, result, kernel = (1, 6, 8, 4), (1, 6, 8, 5), (3, 3, 4, 5)
    flops.plain_convolution(
        flops.Convolution(kind, shape, result, kernel, (1, 1, 1, 1), "SAME", "float32")
    )()


# --- sounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [signals.chords, signals.bursts])
def test_signals_are_reproducible_and_differ_by_seed(make: Any) -> None:
    y = make(1.3, 22_050, 0)
    assert y.dtype == np.float32 and y.shape == (round(1.3 * 22_050),)
    assert np.sqrt(np.mean(y**2)) == pytest.approx(signals.LEVEL, rel=0.05)
    np.testing.assert_array_equal(y, make(1.3, 22_050, 0))
    assert np.abs(y - make(1.3, 22_050, 1)).max() > 0.01


def test_a_long_file_is_stereo_and_does_not_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    monkeypatch.setattr(signals, "BLOCK_S", 0.5)
    signals.write_long(tmp_path / "long.wav", 1.2, 8_000)
    y, sr = soundfile.read(tmp_path / "long.wav")
    assert sr == 8_000 and y.shape == (9_600, 2)
    assert np.abs(y[:, 0] - y[:, 1]).max() > 0.01
    assert np.abs(y[:4_000] - y[4_000:8_000]).max() > 0.01


# --- processes ---------------------------------------------------------------------------------


def test_the_time_and_memory_of_a_process_are_its_own(tmp_path: Path) -> None:
    # In a fresh process: the peak of a child starts at that of its parent, here TensorFlow's.
    code = f"""
import sys
from pathlib import Path
from bench.speed.processes import run_process
for n in (1, 2**29):
    command = [sys.executable, "-c", f"len(bytearray({{n}}) * 1)"]
    usage = run_process(command, Path({str(tmp_path / "log")!r}))
    print(usage.seconds, usage.peak)
"""
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    small, large = ([float(x) for x in line.split()] for line in found.stdout.splitlines())
    assert small[0] > 0
    assert large[1] - small[1] > 2**28


def test_the_error_of_a_failed_process_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="exit code 3: oh no"):
        run_process([sys.executable, "-c", "print('oh no'); raise SystemExit(3)"], tmp_path / "log")


def test_the_parts_of_a_run_add_up_to_its_total() -> None:
    record = {
        "content": {"samples": 44_100, "sr": 22_050},
        "windows": 1,
        "device": "/CPU:0",
        "precision": "float32",
        "stopped": "iterations",
        "losses": [{"seconds": 1.0}, {"seconds": 1.5}, {"seconds": 3.0}],
        "timings": {
            "start-up": 3.0,
            "style": 0.5,
            "features": 0.7,
            "optimization": 3.1,
            "inversion": 0.9,
        },
    }
    row = summarize(record, Usage(10.0, 2**30, marked=6.0))
    assert row["step"] == pytest.approx(1.0) and row["steps"] == 2
    assert row["real_time_factor"] == pytest.approx(5.0)
    assert (row["first_step"], row["first_evaluation"]) == (6.0, 1.0)
    assert row["first_step"] + 2 * row["step"] + 0.9 + row["rest"] == pytest.approx(10.0)
    unknown = summarize(record, Usage(10.0, 2**30))
    assert unknown["first_step"] is None and "rest" not in unknown


def test_the_first_step_is_timed_by_the_line_that_announces_it(tmp_path: Path) -> None:
    code = """
import sys, time
print("optimising", file=sys.stderr)
time.sleep(0.3)
print("window 1/2, iteration 0/10: total 1.2", file=sys.stderr)
print("window 1/2, iteration 10/10: total 1.0", file=sys.stderr)
"""
    usage = run_process([sys.executable, "-c", code], tmp_path / "log", FIRST_STEP)
    assert usage.marked is not None
    assert 0.3 < usage.marked < usage.seconds
    assert (tmp_path / "log").read_text().count("iteration") == 2
    assert not FIRST_STEP.search(b"iteration 10/10: total 1.0")


# --- the program ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_transfer_is_timed_from_the_start_of_the_process(tmp_path: Path) -> None:
    content, style = signals.write_pair(tmp_path, 1.0, 22_050)
    row = run_transfer(content, style, "fast", tmp_path, ["--iterations", "2"])
    assert row["steps"] == 2 and row["peak"] > 2**26
    assert row["first_evaluation"] < row["first_step"] < row["total"]
    assert row["rest"] > 0


@pytest.mark.slow
def test_a_step_is_measured_against_its_convolutions(tmp_path: Path) -> None:
    options = {"preset": "fast", "seconds": 0.6, "steps": 2, "precision": "float32"}
    found = run_worker("limit", options, tmp_path)
    assert len(found["steps"]) == len(found["evaluations"]) == 2
    assert all(n >= 1 for n in found["evaluations"])
    assert 0 < found["conv_flops"] < found["flops"]
    assert found["share_of_limit"] > 0 and found["conv_share"] > 0
    assert found["step_to_forward"] > 0
    # block1_conv2 to block3_conv1 forward and backward, block1_conv1 forward: its gradient is a
    # matrix product.
    assert sum(row["count"] for row in found["convolutions"]) == 9
    assert sum(row["count"] for row in found["convolutions"] if row["wide"]) == 8


def test_a_failure_affects_only_its_own_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(task: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
        if options.get("stack") == 2:
            raise ProcessFailed("exit code -9: killed")
        return {"peak": 2**29, "first": 3.0, "seconds": [0.5], "frames": 216}

    monkeypatch.setattr(speed, "run_worker", work)
    arguments = ["-o", str(tmp_path), "--quick", "--presets", "fast", "--only", "batch", "threads"]
    assert speed.main(arguments) == 0
    record = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [("error" in row) for row in record["batch"]] == [False, True]
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "Failed: batch, preset fast, stack 2: `exit code -9: killed`" in text
    assert "| fast | 1 | 216 | 0.500 | 1.00 | 512 |" in text


# --- tables ------------------------------------------------------------------------------------


def test_tables_show_a_dash_for_missing_values() -> None:
    row = {
        "preset": "fast",
        "audio": 60.0,
        "windows": 2,
        "first_step": 6.0,
        "step": None,
        "steps": 0,
        "inversion": 1.5,
        "total": 30.0,
        "real_time_factor": 0.5,
        "peak": 3 * 2**30,
    }
    record = {"machine": describe_machine(), "command": [row], "growth": [row]}
    text = tables.format_record(record)
    assert "| fast | 60 | 6.00 | - | - | 0 | 1.50 | - | 30.0 | 0.50 | 3,072 |" in text
    assert "| fast | 1.0 | 2 | 6.0 | 30.0 | 0.50 | 3,072 | - |" in text
    with_idle = tables.format_record({**record, "idle": {"peak": 2**29}})
    assert "| fast | 1.0 | 2 | 6.0 | 30.0 | 0.50 | 3,072 | 2,560 |" in with_idle


@pytest.mark.parametrize(
    ("change", "distance", "same"),
    [(0.001, 0.3, "yes"), (-0.05, 0.3, "no"), (0.001, 3.0, "no")],
)
def test_precisions_agree_within_both_tolerances(change: float, distance: float, same: str) -> None:
    row = {
        "preset": "fast",
        "float32": {"step": 0.2},
        "bfloat16": {"step": 0.1},
        "speed_up": 2.0,
        "loss_change": change,
        "spectrogram_db": distance,
        "moved_db": 12.0,
    }
    assert tables.precision_section({}, [row]).splitlines()[4].endswith(f"| {same} |")


def test_medians_leave_out_failures() -> None:
    runs = [
        {"preset": "fast", "total": 3.0, "first": True},
        {"preset": "fast", "error": "no"},
        {"preset": "fast", "total": 5.0, "first": True},
        {"preset": "fast", "total": 4.0, "first": True},
    ]
    row = speed.medians(runs)
    assert row["total"] == 4.0 and row["preset"] == "fast" and row["runs"] == runs
    assert speed.medians(runs[1:2]) == runs[1]


def test_defaults_follow_the_command_line() -> None:
    plan = speed.parse_arguments([])
    assert plan.seconds == [5, 10, 30] and plan.growth == [1, 6] and plan.batch == [1, 2, 4]
    assert "jit" not in plan.only and plan.step_seconds == 30
    assert plan.presets == ["fast", "balanced", "classic"]
    plan = speed.parse_arguments(["--quick", "--jit", "--seconds", "3"])
    assert plan.presets == ["fast", "balanced"] and plan.seconds == [3]
    assert "jit" in plan.only and plan.step_seconds == 5
    for wrong in (["--seconds", "0"], ["--batch", "0"], ["--repeats", "0"], ["--growth", "-1"]):
        with pytest.raises(SystemExit):
            speed.parse_arguments(wrong)
