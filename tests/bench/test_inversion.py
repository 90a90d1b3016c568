from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import soundfile as sf

from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from bench import inversion
from tests.conftest import SR, make_tones

CONFIG = TransferConfig(inversion_iterations=8)


@pytest.mark.slow
def test_the_round_trip_with_the_original_phase_is_lossless() -> None:
    found = inversion.round_trip(ArraySource(make_tones(1.5), SR, "tones"), CONFIG)
    assert found["mel_error"] < 0.01
    assert found["convergence"] < -60
    assert found["notes"] == pytest.approx(1.0)


@pytest.mark.slow
def test_random_phase_loses_less_with_more_iterations() -> None:
    few, many = (
        inversion.round_trip(
            ArraySource(make_tones(1.5), SR, "tones"),
            dataclasses.replace(CONFIG, inversion="griffinlim", inversion_iterations=n),
        )
        for n in (2, 32)
    )
    assert few["convergence"] > many["convergence"] > -60
    assert few["mel_error"] > many["mel_error"] > 0.01


def test_the_table_has_the_mean_and_the_worst_of_each_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "a.wav", make_tones(0.6), SR)
    assert inversion.main([str(tmp_path), "--iterations", "1", "-o", str(tmp_path / "out")]) == 0
    written = (tmp_path / "out" / "inversion.md").read_text()
    assert capsys.readouterr().out.endswith(written)
    assert written.count("\n| content, 1 iterations | 1 |") == 1
    assert written.count("\n| griffinlim, 1 iterations | 1 |") == 1
    row = {"mel_error": 1.0, "convergence": -20.0, "notes": 0.5}
    other = {"mel_error": 3.0, "convergence": -30.0, "notes": 1.0}
    last = inversion.format_rows([("x", "a", row), ("x", "b", other)]).splitlines()[-1]
    assert last == "| x | 2 | 2.00 | 3.00 | -25.0 | -20.0 | 0.75 | 0.50 |"


def test_a_folder_without_clips_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inversion.main([str(tmp_path)]) == 1
    assert "holds no audio files" in capsys.readouterr().err
