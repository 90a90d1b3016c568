"""The speed bench: what it counts, what it runs, and what it makes of a table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.cli import uptime
from bench import flops, machine, speed, speed_audio, speed_tables
from bench.speed_processes import (
    ProcessFailed,
    Usage,
    parse_imports,
    run_command,
    run_process,
    run_worker,
    summarise,
)


def graph_of(function: Any, *shapes: tuple[int, ...], dtype: Any = tf.float32) -> Any:
    specs = [tf.TensorSpec(shape, dtype) for shape in shapes]
    return tf.function(function, autograph=False).get_concrete_function(*specs).graph


# --- counting ----------------------------------------------------------------------------------


def test_a_convolution_costs_two_flops_a_weight_and_place() -> None:
    graph = graph_of(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), (2, 8, 10, 3), (3, 5, 3, 7))
    assert flops.count(graph) == 2 * (2 * 8 * 10 * 7) * (3 * 5 * 3)


def test_a_stride_leaves_out_places() -> None:
    graph = graph_of(lambda x, k: tf.nn.conv2d(x, k, 2, "VALID"), (1, 9, 9, 4), (3, 3, 4, 6))
    assert flops.count(graph) == 2 * (4 * 4 * 6) * (3 * 3 * 4)


def test_a_gradient_by_the_input_costs_as_much_as_the_convolution() -> None:
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


def test_a_gradient_by_the_weights_costs_the_same_again() -> None:
    def by_weights(x: Any, k: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(k)
            y = tf.reduce_sum(tf.square(tf.nn.conv2d(x, k, 1, "SAME")))
        return tape.gradient(y, k)

    graph = graph_of(by_weights, (1, 6, 8, 4), (3, 3, 4, 5))
    assert flops.count(graph) == 2 * 2 * (6 * 8 * 5) * (3 * 3 * 4)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_matrices_costs_two_flops_a_product(transposed: bool) -> None:
    first = (5, 4, 3) if transposed else (5, 3, 4)
    graph = graph_of(lambda a, b: tf.matmul(a, b, transpose_a=transposed), first, (5, 4, 6))
    assert flops.count(graph) == 2 * 5 * 3 * 4 * 6


def test_einsum_costs_two_flops_a_combination_of_indices() -> None:
    graph = graph_of(lambda a, b: tf.einsum("fm,bmtc->bftc", a, b), (3, 4), (2, 4, 5, 6))
    assert flops.count(graph) == 2 * 3 * 4 * 2 * 5 * 6


def test_what_has_no_known_size_is_not_counted_as_something() -> None:
    with pytest.raises(ValueError, match="not static"):
        flops.count(graph_of(lambda a: tf.matmul(a, a), (None, 4, 4)))  # type: ignore[arg-type]
    loop = graph_of(
        lambda a: tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a @ a), (0, a)), (4, 4)
    )
    with pytest.raises(ValueError, match="how often"):
        flops.count(loop)


@pytest.mark.parametrize("kind", [flops.FORWARD, flops.BACKWARD])
def test_a_plain_convolution_runs(kind: str) -> None:
    shape, result, kernel = (1, 6, 8, 4), (1, 6, 8, 5), (3, 3, 4, 5)
    flops.plain(flops.Convolution(kind, shape, result, kernel, (1, 1, 1, 1), "SAME", "float32"))()


# --- sounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [speed_audio.chords, speed_audio.bursts])
def test_sounds_are_the_same_every_time_and_differ_by_seed(make: Any) -> None:
    y = make(1.3, 22_050, 0)
    assert y.dtype == np.float32 and y.shape == (round(1.3 * 22_050),)
    assert np.sqrt(np.mean(y**2)) == pytest.approx(speed_audio.LEVEL, rel=0.05)
    np.testing.assert_array_equal(y, make(1.3, 22_050, 0))
    assert np.abs(y - make(1.3, 22_050, 1)).max() > 0.01


def test_a_long_file_is_stereo_and_does_not_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    monkeypatch.setattr(speed_audio, "BLOCK_S", 0.5)
    speed_audio.write_long(tmp_path / "long.wav", 1.2, 8_000)
    y, sr = soundfile.read(tmp_path / "long.wav")
    assert sr == 8_000 and y.shape == (9_600, 2)
    assert np.abs(y[:, 0] - y[:, 1]).max() > 0.01
    assert np.abs(y[:4_000] - y[4_000:8_000]).max() > 0.01


# --- processes ---------------------------------------------------------------------------------


def test_a_process_is_timed_and_its_memory_is_its_own(tmp_path: Path) -> None:
    # In a process of its own: the peak of a child begins at that of its parent, here TensorFlow's.
    code = f"""
import sys
from pathlib import Path
from bench.speed_processes import run_process
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


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="exit code 3: oh no"):
        run_process([sys.executable, "-c", "print('oh no'); raise SystemExit(3)"], tmp_path / "log")


def test_imports_are_summed_by_package() -> None:
    log = """\
import time: self [us] | cumulative | imported package
import time:       200 |        200 |     numpy.core
import time:      1000 |       1200 |   numpy
something else
import time:   3000000 |    3001200 | tensorflow.python
"""
    found = parse_imports(log)
    assert found["seconds"] == pytest.approx(3.0012)
    assert list(found["packages"]) == ["tensorflow", "numpy"]
    assert found["packages"]["numpy"] == pytest.approx(0.0012)


def test_a_run_is_taken_apart_without_a_rest() -> None:
    record = {
        "content": {"samples": 44_100, "sr": 22_050},
        "windows": 1,
        "device": "/CPU:0",
        "precision": "float32",
        "stopped": "iterations",
        "losses": [{"seconds": 1.0}, {"seconds": 1.5}, {"seconds": 3.0}],
        "timings": {
            "to command": 0.3,
            "to first step": 6.0,
            "start-up": 3.0,
            "style": 0.5,
            "features": 0.7,
            "optimization": 3.1,
            "inversion": 0.9,
        },
    }
    row = summarise(record, Usage(10.0, 2**30))
    assert row["step"] == pytest.approx(1.0) and row["steps"] == 2
    assert row["reading"] == pytest.approx(0.5)
    assert row["load"] == pytest.approx(0.5 + 0.5 + 0.7)
    assert row["real_time_factor"] == pytest.approx(5.0)
    parts = row["interpreter"] + row["start_up"] + row["load"] + row["first_evaluation"]
    assert parts == pytest.approx(row["first_step"])
    assert row["first_step"] + 2 * row["step"] + 0.9 + row["rest"] == pytest.approx(10.0)


def test_the_time_since_the_process_began_is_more_than_since_the_import(tmp_path: Path) -> None:
    script = (
        "import time; time.sleep(0.3); import audiostyle.cli.uptime as u; "
        "t = u.seconds(); s = u._since_start(); print(t if s is not None else 'unknown')"
    )
    run_process([sys.executable, "-c", script], tmp_path / "log")
    said = (tmp_path / "log").read_text(encoding="utf-8").split()[-1]
    if said == "unknown":
        pytest.skip("this platform does not say when a process began")
    assert 0.3 <= float(said) < 60


def test_where_nothing_says_when_the_process_began_the_import_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uptime, "_since_start", lambda: None)
    assert 0 < uptime.seconds() < 86_400


# --- the whole ---------------------------------------------------------------------------------


def test_the_command_tells_the_time_from_the_shell_to_the_first_step(tmp_path: Path) -> None:
    content, style = speed_audio.write_pair(tmp_path, 1.0, 22_050)
    options = ["-v", "--iterations", "2", "--precision", "float32"]
    record, usage = run_command(content, style, "fast", tmp_path, options=options)
    row = summarise(record, usage)
    assert row["steps"] == 2 and row["peak"] > 2**26
    assert 0 < row["interpreter"] < row["first_step"] < row["total"]
    said = (tmp_path / "command.log").read_text(encoding="utf-8", errors="replace")
    assert f"to first step {record['timings']['to first step']:.2f} s" in said


def test_a_step_is_measured_against_its_convolutions(tmp_path: Path) -> None:
    options = {"preset": "fast", "seconds": 0.6, "steps": 2, "precision": "float32"}
    found = run_worker("limit", options, tmp_path)
    assert len(found["steps"]) == len(found["evaluations"]) == 2
    assert all(n >= 1 for n in found["evaluations"])
    assert 0 < found["conv_flops"] < found["flops"]
    assert found["share_of_limit"] > 0 and found["conv_share"] > 0
    assert found["step_to_forward"] > 0
    # block1_conv2 to block3_conv1 forth and back, block1_conv1 forth: its way back is a product.
    assert sum(row["count"] for row in found["convolutions"]) == 9
    assert sum(row["count"] for row in found["convolutions"] if row["wide"]) == 8


def test_a_failure_costs_its_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(task: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
        if options.get("stack") == 2:
            raise ProcessFailed("exit code -9: killed")
        return {"peak": 2**29, "wall": 1.0, "first": 3.0, "seconds": [0.5], "frames": 216}

    monkeypatch.setattr(speed, "run_worker", work)
    arguments = ["-o", str(tmp_path), "--quick", "--presets", "fast", "--only", "batch", "threads"]
    assert speed.main(arguments) == 0
    record = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert [("error" in row) for row in record["batch"]] == [False, True]
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "Failed: batch, preset fast, stack 2: `exit code -9: killed`" in text
    assert "| fast | 1 | 216 | 0.500 | 1.00 | 512 |" in text


# --- tables ------------------------------------------------------------------------------------


def test_tables_show_what_is_there_and_a_dash_for_what_is_not() -> None:
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
    record = {"machine": machine.describe(), "command": [row], "growth": [row]}
    text = speed_tables.render(record)
    assert "| fast | 60 | 6.00 | - | - | - | - | 0 | 1.50 | - | 30.0 | 0.50 | 3,072 |" in text
    assert "| fast | 1.0 | 2 | 6.0 | 30.0 | 0.50 | 3,072 | - |" in text
    with_idle = speed_tables.render({**record, "idle": {"peak": 2**29}})
    assert "| fast | 1.0 | 2 | 6.0 | 30.0 | 0.50 | 3,072 | 2,560 |" in with_idle


@pytest.mark.parametrize(
    ("change", "distance", "verdict"),
    [(0.001, 0.3, "yes"), (-0.05, 0.3, "no"), (0.001, 3.0, "no")],
)
def test_precisions_count_as_one_within_both_tolerances(
    change: float, distance: float, verdict: str
) -> None:
    row = {
        "preset": "fast",
        "float32": {"step": 0.2},
        "bfloat16": {"step": 0.1},
        "speed_up": 2.0,
        "loss_change": change,
        "spectrogram_db": distance,
        "moved_db": 12.0,
    }
    assert speed_tables.precision_section({}, [row]).splitlines()[4].endswith(f"| {verdict} |")


def test_medians_leave_out_what_failed() -> None:
    runs = [
        {"preset": "fast", "total": 3.0, "first": True},
        {"preset": "fast", "error": "no"},
        {"preset": "fast", "total": 5.0, "first": True},
        {"preset": "fast", "total": 4.0, "first": True},
    ]
    row = speed.medians(runs)
    assert row["total"] == 4.0 and row["preset"] == "fast" and row["runs"] == runs
    assert speed.medians(runs[1:2]) == runs[1]


def test_a_plan_follows_the_command_line() -> None:
    plan = speed.make_plan(speed.parse_arguments([]))
    assert plan.seconds == [5, 10, 30] and plan.growth == [1, 6] and plan.batch == [1, 2, 4]
    assert "jit" not in plan.sections and plan.step_seconds == 30
    assert "best" in plan.presets and "best" not in plan.distinct()
    plan = speed.make_plan(speed.parse_arguments(["--quick", "--jit", "--seconds", "3"]))
    assert plan.presets == ["fast", "balanced"] and plan.seconds == [3]
    assert "jit" in plan.sections and plan.step_seconds == 5
    for wrong in (["--seconds", "0"], ["--batch", "0"], ["--repeats", "0"], ["--growth", "-1"]):
        with pytest.raises(SystemExit):
            speed.parse_arguments(wrong)
