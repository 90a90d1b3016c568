"""A step as a program for XLA: what is written, what is counted, and what JAX makes of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import gpu_step
import numpy as np
import pytest
import step_export
import step_run
import tensorflow as tf
from hlo_count import count_flop

from audiostyle.errors import ConfigError

SMALL = {"n_mels": 64, "n_fft": 1024, "hop_length": 256, "bands": 4}
SECONDS = 0.5
FRAMES = 44


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    step_export.export(folder, "fast", "float32", SECONDS, [1, 2], **SMALL)
    return folder


def descriptions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def hlo(function: Any, *shapes: tuple[int, ...]) -> str:
    compiled = tf.function(function, jit_compile=True)
    arguments = [tf.zeros(shape) for shape in shapes]
    return str(compiled.experimental_get_compiler_ir(*arguments)(stage="hlo"))


def test_the_count_of_a_convolution_and_of_a_product_is_that_of_the_closed_form() -> None:
    text = hlo(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), (2, 6, 10, 3), (3, 3, 3, 5))
    assert count_flop(text) == {"convolution": 2 * (2 * 6 * 10 * 5) * (9 * 3), "dot": 0}
    text = hlo(lambda a, b: tf.matmul(a, b, transpose_b=True), (4, 6, 7), (4, 5, 7))
    assert count_flop(text) == {"convolution": 0, "dot": 2 * (4 * 6 * 5) * 7}


def test_what_nothing_needs_is_not_counted() -> None:
    def by_input(x: Any, kernel: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return tape.gradient(y, [x, kernel])[0]

    flop = count_flop(hlo(by_input, (2, 6, 10, 3), (3, 3, 3, 5)))
    assert flop["convolution"] == 2 * (2 * 6 * 10 * 5) * (9 * 3)


def test_an_export_says_what_a_step_is(folder: Path) -> None:
    one, two = descriptions(folder)
    assert {path.suffix for path in folder.iterdir()} == {".gz", ".json", ".npz"}
    for description in (one, two):
        assert gzip.decompress((folder / description["program"]).read_bytes())
        assert description["frames"] == FRAMES and description["n_mels"] == 64
        assert (description["preset"], description["n_steps"]) == ("fast", 10)
        assert len(description["expected"]["loss"]) == description["batch"]
        assert np.isfinite(description["expected"]["gradient_norm"]).all()
    assert two["flop"]["convolution"] == 2 * one["flop"]["convolution"]
    # Planes to 64, 64 to 64; at a quarter of the positions to 128, 128 to 128; at a sixteenth to
    # 256: all but the first back, too.
    convolution = 2 * 64 * FRAMES * 9
    wide = convolution * (64 * 64 + (64 * 128 + 128 * 128) / 4 + 128 * 256 / 16)
    assert one["flop"]["convolution"] == convolution * 2 * 64 + 2 * wide


def test_the_arguments_of_a_batch_are_made_from_those_of_one_item(folder: Path) -> None:
    pytest.importorskip("ml_dtypes")
    for description in descriptions(folder):
        arguments = step_run.load_arguments(folder, description)
        x, total = arguments[:2]
        assert x.shape == (description["batch"], 64, FRAMES)
        assert np.isinf(total).all() and total.shape == (description["batch"],)
        for array, argument in zip(arguments, description["arguments"], strict=True):
            assert (list(array.shape), array.dtype.name) == (argument["shape"], argument["dtype"])
    np.testing.assert_array_equal(x[1], np.roll(x[0], step_export.ROLL, axis=1))


def test_a_preset_that_cannot_be_measured_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="optimizer=lbfgs"):
        step_export.export(tmp_path, "fast", "float32", SECONDS, [1], optimizer="adam")
    assert gpu_step.main(["export", "-o", str(tmp_path), "--preset", "quick"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert gpu_step.main(["run", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no programs" in error or "JAX is not installed" in error


def test_jax_finds_what_tensorflow_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jax", reason="JAX is not installed: pip install 'audiostyle[gpu-step]'")
    rows_file, table_file = tmp_path / "rows.json", tmp_path / "table.md"
    arguments = ["run", str(folder), "--repeats=1", f"--json={rows_file}"]
    assert gpu_step.main([*arguments, f"--markdown={table_file}"]) == 0
    rows = json.loads(rows_file.read_text())
    assert [row["batch"] for row in rows] == [1, 2]
    for row in rows:
        assert row["agrees"] and row["loss_error"] < 1e-3
        steps_per_hour = row["pairs_per_hour"] / row["batch"] * (row["n_steps"] + 1)
        assert steps_per_hour == pytest.approx(3600 / row["step_seconds"])
        assert row["real_time"] == pytest.approx(row["pairs_per_hour"] * SECONDS / 3600)
    assert table_file.read_text() in capsys.readouterr().out
