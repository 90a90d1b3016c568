from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostyle.errors import ConfigError
from bench.gpu_step import __main__ as gpu_step
from bench.gpu_step import export
from bench.gpu_step.run import load_arguments

SMALL = {"n_mels": 64, "n_fft": 1024, "hop_length": 256, "bands": 4}
SECONDS = 0.5
FRAMES = 44


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    export.export_programs(folder, "fast", "float32", SECONDS, [1, 2], **SMALL)
    return folder


def descriptions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_an_export_describes_the_step(tmp_path: Path) -> None:
    export.export_programs(tmp_path, "fast", "float32", SECONDS, [2], **SMALL)
    (description,) = descriptions(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".gz", ".json", ".npz"}
    assert gzip.decompress((tmp_path / description["program"]).read_bytes())
    assert description["frames"] == FRAMES and description["n_mels"] == 64
    assert (description["preset"], description["n_steps"]) == ("fast", 10)
    assert len(description["expected"]["loss"]) == description["batch"] == 2
    assert np.isfinite(description["expected"]["gradient_norm"]).all()
    # Two planes to 64 and 64 to 64 channels; to 128 and 128 to 128 at a quarter of the positions;
    # to 256 at a sixteenth. All but the first also backward.
    convolution = 2 * 64 * FRAMES * 9
    wide = convolution * (64 * 64 + (64 * 128 + 128 * 128) / 4 + 128 * 256 / 16)
    assert description["flop"]["convolution"] == 2 * (convolution * 2 * 64 + 2 * wide)
    assert description["flop"]["dot"] > 0


@pytest.mark.slow
def test_the_arguments_of_a_batch_are_restored_from_one_item(folder: Path) -> None:
    pytest.importorskip("ml_dtypes")
    one, two = descriptions(folder)
    assert two["flop"]["convolution"] == 2 * one["flop"]["convolution"]
    for description in (one, two):
        assert len(description["expected"]["loss"]) == description["batch"]
        arguments = load_arguments(folder, description)
        x, total = arguments[:2]
        assert x.shape == (description["batch"], 64, FRAMES)
        assert np.isinf(total).all() and total.shape == (description["batch"],)
        for array, argument in zip(arguments, description["arguments"], strict=True):
            assert (list(array.shape), array.dtype.name) == (argument["shape"], argument["dtype"])
    np.testing.assert_array_equal(x[1], np.roll(x[0], export.ROLL, axis=1))


def test_a_preset_that_cannot_be_measured_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="optimizer=lbfgs"):
        export.export_programs(tmp_path, "fast", "float32", SECONDS, [1], optimizer="adam")
    assert gpu_step.main(["export", "-o", str(tmp_path), "--preset", "quick"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert gpu_step.main(["run", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no programs" in error or "JAX is not installed" in error


@pytest.mark.slow
def test_jax_computes_what_tensorflow_computes(
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
