"""Content metrics, against closed forms, mir_eval and a slow search."""

from __future__ import annotations

import sys
from typing import Any

import mir_eval
import numpy as np
import numpy.typing as npt
import pytest

from audiostyle.evaluation import content_metrics, style_metrics
from tests.conftest import CHORDS, ORGAN, REED, make_chords

Array = npt.NDArray[Any]

SR = style_metrics.SAMPLE_RATE


@pytest.mark.parametrize("partials", [ORGAN, REED])
def test_notes_are_found_in_any_timbre(partials: tuple[float, ...]) -> None:
    y = style_metrics.prepare(make_chords(CHORDS, partials, 0.5), SR)
    notes = content_metrics.note_frames(content_metrics.constant_q(y))
    truth = np.zeros_like(notes)
    for frame in range(notes.shape[1]):
        index = min(len(CHORDS) - 1, int(frame * style_metrics.HOP_LENGTH / (0.5 * SR)))
        truth[[midi - 36 for midi in CHORDS[index]], frame] = True
    assert content_metrics.note_f_measure(truth, notes) > 0.75


def test_onset_f_measure_is_that_of_mir_eval() -> None:
    rng = np.random.default_rng(8)
    reference = np.sort(rng.uniform(0.0, 10.0, 20))
    estimate = np.sort(reference[:15] + rng.normal(0.0, 0.04, 15))
    expected = mir_eval.onset.f_measure(reference, estimate, window=0.05)[0]
    assert content_metrics.onset_f_measure(reference, estimate) == expected
    assert 0.0 < expected < 1.0
    nothing = np.zeros(0)
    assert content_metrics.onset_f_measure(nothing, nothing) == 1.0
    assert content_metrics.onset_f_measure(reference, nothing) == 0.0


def test_a_missing_mir_eval_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    with pytest.raises(ImportError, match=r"pip install 'audiostyle\[evaluate\]'"):
        content_metrics.onset_f_measure(np.ones(1), np.ones(1))


def test_extremes_of_chroma_and_envelope() -> None:
    frames = np.eye(12)[:, [0, 4, 7]]
    assert content_metrics.chroma_similarity(frames, frames) == 1.0
    assert content_metrics.chroma_similarity(frames, np.roll(frames, 1, axis=0)) == 0.0
    ramp = np.arange(10.0)
    assert content_metrics.envelope_correlation(ramp, -3 * ramp + 1) == pytest.approx(-1.0)
    assert content_metrics.envelope_correlation(ramp, np.ones(10)) == 0.0


def test_a_copied_piece_is_found_anywhere() -> None:
    rng = np.random.default_rng(9)
    source = rng.standard_normal(3 * SR)
    y = np.concatenate([-0.3 * source[12_345 : 12_345 + SR], rng.standard_normal(SR), np.zeros(SR)])
    match = content_metrics.waveform_match(y, source)
    assert match[:3] == pytest.approx(1.0)
    assert np.all(match[4:7] < 0.01)
    assert np.isnan(match[-1])


def test_waveform_match_is_that_of_a_slow_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content_metrics, "COPY_BLOCK", 1 << 14)
    rng = np.random.default_rng(13)
    length = int(content_metrics.COPY_WINDOW_S * SR)
    source = rng.standard_normal(3 * length) * np.linspace(0.1, 1.0, 3 * length)
    # The piece lies across the border of two blocks.
    y = source[3_000 : 3_000 + length] + 0.7 * rng.standard_normal(length)
    correlation = np.correlate(source, y, "valid")
    norms = np.convolve(source**2, np.ones(length), "valid")
    expected = np.max(correlation**2 / norms) / (y @ y)
    assert content_metrics.waveform_match(y, source) == pytest.approx(expected)


def test_half_of_a_piece_is_half_copied() -> None:
    rng = np.random.default_rng(10)
    source, other = rng.standard_normal((2, 2 * SR))
    match = content_metrics.waveform_match(source + other, source)
    unrelated = content_metrics.waveform_match(other, source)
    assert match == pytest.approx(0.5, abs=0.03)
    assert content_metrics.waveform_copying(match, unrelated) == pytest.approx(0.5, abs=0.03)


def test_copied_notes_are_notes_of_the_style_only() -> None:
    rng = np.random.default_rng(11)
    content, style, other = rng.random((3, content_metrics.N_NOTES, 200)) < 0.05
    assert content_metrics.note_copying(content, content, style) == 0.0
    assert content_metrics.note_copying(style, content, style) == 1.0
    assert content_metrics.note_copying(other, content, style) < 0.1
    assert 0.3 < content_metrics.note_copying(content | style, content, style) < 0.7
