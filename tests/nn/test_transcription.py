"""Transcription: known notes are found, and the values are those of the published model."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from audiostyle.nn import transcription
from audiostyle.nn.transcription import CONTEXT, HOP_LENGTH, SAMPLE_RATE, STEP, NoteTranscriber
from tests.conftest import Array

A0 = 21  # MIDI number of row 0
NOTES = ((60, 0.4, 1.0), (67, 1.2, 1.8), (45, 2.0, 2.6), (76, 2.8, 3.4))  # MIDI, seconds
# Of `decaying_notes(NOTES, 36_000)`, by basic-pitch 0.4.0 (nmp.onnx, onnxruntime 1.32.0), on the
# window that starts 15 hops before the signal: row, frame, note, onset.
PUBLISHED = (
    (39, 33, 0.4936, 0.7983),
    (39, 34, 0.6589, 0.9507),
    (39, 60, 0.7787, 0.0572),
    (39, 88, 0.3149, 0.0162),
    (51, 50, 0.1609, 0.0634),
    (46, 103, 0.6829, 0.9695),
    (46, 140, 0.5417, 0.2801),
    (58, 103, 0.2705, 0.7019),
    (0, 0, 0.1114, 0.0569),
)


def decaying_notes(notes: tuple[tuple[int, float, float], ...], n: int) -> Array:
    """Play decaying notes of six harmonics [shape=(1, n)]."""
    y, times = np.zeros(n), np.arange(n) / SAMPLE_RATE
    for midi, start, end in notes:
        heard = (times >= start) & (times < end)
        t = times[heard] - start
        phase = 2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * t
        fade = np.minimum(1, t / 0.005) * np.minimum(1, (end - start - t) / 0.01)
        y[heard] += sum(np.sin(h * phase) / h for h in range(1, 7)) * np.exp(-2 * t) * fade
    return 0.2 * y.astype(np.float32)[None]


@pytest.fixture(scope="module")
def transcriber() -> NoteTranscriber:
    return NoteTranscriber()


@pytest.fixture(scope="module")
def melody() -> Array:
    return decaying_notes(NOTES, int(3.6 * SAMPLE_RATE))


def test_the_low_pass_is_designed_as_published() -> None:
    bands = (0, 0.5 / 1.001, 0.5 * 1.001, 1)
    expected = scipy.signal.firwin2(256, bands, (1, 1, 0, 0))
    np.testing.assert_allclose(transcription._half_band_filter(), expected, atol=1e-12)


def test_posteriors_are_those_of_the_published_model(transcriber: NoteTranscriber) -> None:
    note, onset = transcriber.posteriors(decaying_notes(NOTES, 36_000))
    for row, frame, note_there, onset_there in PUBLISHED:
        assert note[row, frame] == pytest.approx(note_there, abs=1e-3)
        assert onset[row, frame] == pytest.approx(onset_there, abs=1e-3)


def test_notes_and_onsets_are_found_where_they_are(
    transcriber: NoteTranscriber, melody: Array
) -> None:
    note, onset = transcriber.posteriors(melody)
    others = np.ones(note.shape, bool)
    for midi, start, end in NOTES:
        row = midi - A0
        first, last = (round(t * SAMPLE_RATE / HOP_LENGTH) for t in (start, end))
        assert note[row, first + 2 : last - 6].min() > 0.6
        assert abs(int(onset[row].argmax()) - first) <= 2
        assert onset[row].max() > 0.85
        others[row, first - 4 : last + 6] = False
    # The highest are octaves of the notes, for some frames.
    assert note[others].max() < 0.55
    assert onset[others].max() < 0.8
    assert note[others].mean() < 0.15


@pytest.mark.parametrize("n", [0, 1, 255, 256, STEP * HOP_LENGTH - 1, STEP * HOP_LENGTH])
def test_there_is_a_frame_per_hop_and_silence_has_no_notes(
    n: int, transcriber: NoteTranscriber
) -> None:
    for posterior in transcriber.posteriors(np.zeros((2, n), np.float32)):
        assert posterior.shape == (88, 1 + n // HOP_LENGTH)
        assert posterior.dtype == np.float32
        assert posterior.max() < 0.2


@pytest.mark.parametrize(("hops", "tolerance"), [(STEP, 1e-6), (71, 0.1), (1, 0.1)])
def test_later_audio_has_later_posteriors(
    hops: int, tolerance: float, transcriber: NoteTranscriber, melody: Array
) -> None:
    # By a whole window it is exact; by less, each window is normalised by other audio.
    later = np.pad(melody, ((0, 0), (hops * HOP_LENGTH, 0)))
    for moved, posterior in zip(
        transcriber.posteriors(later), transcriber.posteriors(melody), strict=True
    ):
        np.testing.assert_allclose(moved[:, hops:], posterior, atol=tolerance)


def test_windows_are_joined_at_their_frames(transcriber: NoteTranscriber, melody: Array) -> None:
    start = (STEP - CONTEXT) * HOP_LENGTH  # of the second window
    alone = transcriber._run(melody[:, start : start + transcription.WINDOW]).numpy()[:, 0]
    for posterior, frames in zip(transcriber.posteriors(melody), alone, strict=True):
        np.testing.assert_allclose(posterior[:, STEP : 2 * STEP], frames.T, atol=1e-6)


def test_blocks_of_windows_do_not_change_the_result(
    transcriber: NoteTranscriber, melody: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = transcriber.posteriors(melody)
    monkeypatch.setattr(transcription, "BATCH", 1)
    np.testing.assert_allclose(transcriber.posteriors(melody), expected, atol=1e-5)


def test_stereo_is_transcribed_as_the_mean_of_its_channels(
    transcriber: NoteTranscriber, melody: Array
) -> None:
    low, high = decaying_notes(NOTES[2:3], 60_000), decaying_notes(NOTES[3:], 60_000)
    stereo = transcriber.posteriors(np.concatenate([low, high]))
    np.testing.assert_array_equal(stereo, transcriber.posteriors((low + high) / 2))
    same = transcriber.posteriors(np.concatenate([melody, melody]))
    np.testing.assert_array_equal(same, transcriber.posteriors(melody))
