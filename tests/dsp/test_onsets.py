"""Onsets are those of librosa's detector, with its defaults."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from audiostyle.dsp.onsets import detect_onsets, onset_strength


@pytest.mark.parametrize("period", [2, 3, 7, 30, 101])
@pytest.mark.parametrize("n_frames", [2, 40, 700])
def test_onsets_are_librosas(n_frames: int, period: int) -> None:
    rng = np.random.default_rng(period)
    rise = 30 * np.exp(-(np.arange(n_frames) % period) / 5)
    S = (rng.uniform(-80, -30, (64, n_frames)) + rise).astype(np.float32)
    for levels in (S, np.repeat(S, 3, axis=1)):  # and with plateaus
        envelope = librosa.onset.onset_strength(S=levels)
        np.testing.assert_allclose(onset_strength(levels), envelope, rtol=1e-6)
        expected = librosa.onset.onset_detect(onset_envelope=envelope, backtrack=True)
        np.testing.assert_array_equal(detect_onsets(levels), expected)


def test_a_steady_sound_has_no_onset() -> None:
    assert len(detect_onsets(np.full((64, 50), -20.0, np.float32))) == 0
