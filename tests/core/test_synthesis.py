from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from audiostyle.audio import level as audio_level
from audiostyle.audio import loudness
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.synthesis import (
    CONTEXT_FRAMES,
    FADE_FRAMES,
    SpectrogramSegment,
    StreamingInverter,
    Synthesizer,
)
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from tests.conftest import SR, decibels_of, make_noise, make_tones
from tests.support.long import make_music

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4, inversion_iterations=4)


def stereo(sr: int) -> np.ndarray:
    """Tones left, softer noise right, and something above 11 kHz in both."""
    left, right = make_tones(1.0, sr), 0.5 * make_noise(1.0, sr)
    t = np.arange(sr) / sr
    high = 0.02 * np.sin(2 * np.pi * 15_000 * t) if sr > 30_000 else 0 * t
    return np.stack([left + high, right + high]).astype(np.float32)


@dataclasses.dataclass
class Synthesized:
    y: np.ndarray
    gain: float
    reduction: float


def cut(S: np.ndarray, D: np.ndarray, edges: list[int]) -> Iterator[SpectrogramSegment]:
    """Make segments that end at some frames, and at the end."""
    power = spectrogram.channel_power(D)
    n_frames = S.shape[1]
    for a, b in zip([0, *edges], [*edges, n_frames], strict=True):
        yield SpectrogramSegment(S[:, a:b], D[:, :, a:b], power[:, a:b], b == n_frames)


def analysed(y: np.ndarray, sr: int, config: TransferConfig) -> tuple[NormalizedStream, np.ndarray]:
    recording = NormalizedStream(ArraySource(y, sr, "y"), config)
    n_frames = recording.n_frames + 2 * recording.pad_frames
    return recording, recording.frame_reader(padded=True).stft(0, n_frames)


def synthesize(
    y: np.ndarray,
    sr: int,
    config: TransferConfig = CONFIG,
    *,
    gain_db: np.ndarray | float = 0.0,
    edges: list[int] | None = None,
) -> Synthesized:
    """Ask for a gain in every band, match the loudness, and read the result from a buffer."""
    recording, D = analysed(y, sr, config)
    S = spectrogram.mel_db(spectrogram.channel_power(D), config)
    S = S + np.asarray(gain_db, np.float32).reshape(-1, 1)
    meter, peak = loudness.LoudnessMeter(sr), 0.0
    with AudioBuffer(len(y)) as buffer:
        for block in Synthesizer(recording, config).blocks(cut(S, D, edges or [])):
            meter.add(block)
            peak = max(peak, float(np.abs(block).max()))
            buffer.append(block)
        matched = loudness.match_loudness_stream(
            buffer.blocks, sr, meter.value(), peak, recording.loudness
        )
        found = np.concatenate(list(matched.blocks()), axis=1)
    return Synthesized(found, matched.gain, matched.reduction)


@pytest.mark.parametrize("edges", [[], [16], [10, 30]])
@pytest.mark.parametrize("sr", [8000, SR, 44_100, 48_000])
def test_an_untouched_spectrogram_gives_the_content_back(sr: int, edges: list[int]) -> None:
    y = stereo(sr)
    result = synthesize(y, sr, edges=edges)
    assert result.y.shape == y.shape
    assert decibels_of(result.y - y, y) < -60
    assert result.gain == pytest.approx(0, abs=0.01)
    assert result.reduction == 0.0


def test_clips_are_analysed_at_one_level_whatever_their_own() -> None:
    y = make_tones()[None]
    loud, soft = (
        NormalizedStream(ArraySource(factor * y, SR, "y"), CONFIG) for factor in (1.0, 0.01)
    )
    analysed = [np.concatenate(list(one.normalized_blocks()), axis=1) for one in (loud, soft)]
    S, S_soft = (spectrogram.mel_spectrogram(one, CONFIG) for one in analysed)
    np.testing.assert_allclose(S_soft, S, atol=1e-2)
    level = audio_level.active_level(analysed[0], SR)
    assert level == pytest.approx(audio_level.ANALYSIS_LEVEL_DB, abs=1e-3)
    assert len(soft.gain.gains) == len(loud.gain.gains) == 1
    assert soft.gain.at(0, 1) == pytest.approx(100 * loud.gain.at(0, 1), rel=1e-4)


def treble(gain_db: float) -> np.ndarray:
    """Gain above 1 kHz only."""
    return np.where(np.arange(CONFIG.n_mels) >= 20, gain_db, 0.0)


def test_a_gain_in_the_spectrogram_reaches_the_result() -> None:
    y = make_noise()[None]
    result = synthesize(y, SR, gain_db=treble(-12.0))
    power = [np.abs(np.fft.rfft(z[0])) ** 2 for z in (y, result.y)]
    f = np.fft.rfftfreq(y.shape[1], 1 / SR)
    low, high = (f > 100) & (f < 600), (f > 2500) & (f < 8000)
    change = [10 * np.log10(power[1][band].sum() / power[0][band].sum()) for band in (low, high)]
    assert change[1] - change[0] == pytest.approx(-12.0, abs=1.0)


@pytest.mark.parametrize("edges", [[], [30]])
def test_what_lies_above_the_analysed_range_follows_the_octave_below(edges: list[int]) -> None:
    sr = 44_100
    t = np.arange(sr) / sr
    y = make_noise(1.0, sr)[None] + 0.05 * np.sin(2 * np.pi * 15_000 * t)[None]
    result = synthesize(y.astype(np.float32), sr, gain_db=treble(-12.0), edges=edges)
    tone = [np.abs(np.fft.rfft(z[0])[15_000]) for z in (y, result.y)]
    assert 20 * np.log10(tone[1] / tone[0]) - result.gain == pytest.approx(-12, abs=1)


def test_the_loudness_of_the_content_is_kept() -> None:
    y = stereo(SR)
    result = synthesize(y, SR, gain_db=treble(15.0))
    assert loudness.loudness(result.y, SR) == pytest.approx(loudness.loudness(y, SR), abs=0.05)


def test_peaks_are_limited_and_the_reduction_is_reported() -> None:
    y = stereo(SR)
    y *= np.float32(1.3 / np.abs(y).max())
    result = synthesize(y, SR)
    assert np.abs(result.y).max() <= 1.0
    assert result.reduction == pytest.approx(20 * np.log10(1.3), abs=0.1)


def test_equal_channels_stay_equal_and_silent_ones_stay_silent() -> None:
    tones = make_tones()
    result = synthesize(np.stack([tones, tones, 0 * tones]), SR, gain_db=treble(9.0), edges=[40])
    np.testing.assert_array_equal(result.y[0], result.y[1])
    assert np.abs(result.y[2]).max() == 0.0


def test_plain_griffin_lim_starts_from_nothing_but_the_spectrogram() -> None:
    config = dataclasses.replace(CONFIG, inversion="griffinlim", inversion_iterations=60)
    y = make_tones()[None]
    first, other = (synthesize(y, SR, dataclasses.replace(config, seed=seed)).y for seed in (0, 1))
    assert np.linalg.norm(first - y) > 0.5 * np.linalg.norm(y)  # the phase is another
    assert np.linalg.norm(first - other) > 0.5 * np.linalg.norm(y)
    S = spectrogram.mel_spectrogram(y, config)
    error = np.abs(spectrogram.mel_spectrogram(first, config) - S)[S > -40]
    assert error.mean() < 3.0  # dB, where it is audible


def inverted(config: TransferConfig, edges: list[int]) -> tuple[np.ndarray, float]:
    """Invert a spectrogram whose bands rise and fall."""
    n_frames = 480
    y = make_music(n_frames * config.hop_length / SR)[None, : (n_frames - 1) * config.hop_length]
    recording, D = analysed(y, SR, config)
    S = spectrogram.mel_db(spectrogram.channel_power(D), config)
    bands, frames = np.arange(len(S))[:, None], np.arange(S.shape[1])
    S = np.asarray(S + 6 * np.sin(bands / 5) * np.cos(frames / 40), np.float32)
    n = recording.n_resampled + 2 * recording.pad
    inverter = StreamingInverter(n, config)
    blocks = list(inverter.run(cut(S, D, edges)))
    assert sum(block.shape[1] for block in blocks) == n
    return np.concatenate(blocks, axis=1), inverter.convergence


@pytest.mark.parametrize("iterations", [4, pytest.param(32, marks=pytest.mark.slow)])
@pytest.mark.parametrize("edges", [[240], [100, 200, 300, 400], [20, 40, 300, 310, 320]])
def test_segments_are_inverted_like_the_whole(edges: list[int], iterations: int) -> None:
    """-133 dB after 4 iterations and -120 dB after 16, with a context of 64 frames."""
    config = dataclasses.replace(CONFIG, inversion_iterations=iterations)
    whole, convergence = inverted(config, [])
    segments, convergence_of_segments = inverted(config, edges)
    assert decibels_of(segments - whole, whole) < -90
    assert convergence_of_segments == pytest.approx(convergence, abs=0.01)


@pytest.mark.slow
def test_the_level_of_plain_griffin_lim_does_not_dip_where_segments_meet() -> None:
    """Their phases differ, but not so much that a fade would cancel."""
    config = dataclasses.replace(CONFIG, inversion="griffinlim", inversion_iterations=30)
    edges = [120, 240, 360]
    whole, convergence = inverted(config, [])
    segments, convergence_of_segments = inverted(config, edges)
    hop_length = config.hop_length

    def level(y: np.ndarray, first: int) -> float:
        faded = y[:, first * hop_length : (first + FADE_FRAMES) * hop_length]
        return float(10 * np.log10(np.mean(np.square(faded))))

    for edge in edges:
        first = edge - CONTEXT_FRAMES
        assert level(segments, first) == pytest.approx(level(whole, first), abs=1.0)
    assert convergence_of_segments == pytest.approx(convergence, abs=1.0)
