from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from tests.conftest import SR, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)
WIDE = dataclasses.replace(CONFIG, n_fft=2048, hop_length=512, n_mels=256)
QUIET = 100.0 * 10.0 ** (-CONFIG.top_db / 10)  # mel power of the floor


def spectrum(y: np.ndarray) -> np.ndarray:
    return spectrogram.channel_power(spectrogram.stft(y[None], CONFIG.n_fft, CONFIG.hop_length))


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize(("n_fft", "hop_length", "n_mels"), [(1024, 200, 64), (2048, 512, 256)])
def test_mel_spectrogram_is_librosas(
    mel_scale: str, n_fft: int, hop_length: int, n_mels: int
) -> None:
    config = TransferConfig(
        n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, bands=4, mel_scale=mel_scale
    )
    y = make_tones()
    power = librosa.feature.melspectrogram(
        y=y,
        sr=config.sr,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        htk=mel_scale == "htk",
    )
    expected = librosa.power_to_db(power, ref=spectrogram.REFERENCE_POWER, top_db=None)
    np.testing.assert_allclose(
        spectrogram.mel_spectrogram(y, config), np.maximum(expected, -config.top_db), atol=1e-3
    )


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize(("sr", "n_fft", "n_mels"), [(SR, 2048, 256), (1_800, 1025, 20)])
def test_mel_filters_are_librosas(sr: int, n_fft: int, n_mels: int, mel_scale: str) -> None:
    ours = spectrogram._mel_filters(sr, n_fft, n_mels, mel_scale)
    theirs = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, htk=mel_scale == "htk")
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n_fft", "hop_length"), [(2048, 512), (1024, 200), (1025, 1025)])
def test_stft_and_istft_are_librosas(n_fft: int, hop_length: int, channels: int) -> None:
    """Also of a spectrogram that is no STFT, whose frames do not agree where they overlap."""
    y = np.stack([make_noise(0.9, seed=seed) for seed in range(channels)])
    lengths = {"n_fft": n_fft, "hop_length": hop_length}
    for center in (True, False):
        D = librosa.stft(y, **lengths, center=center)
        np.testing.assert_allclose(
            spectrogram.stft(y, **lengths, center=center), D, atol=1e-5 * np.abs(D).max()
        )
    D = librosa.stft(y, **lengths)
    D *= np.random.default_rng(0).uniform(0, 1, D.shape).astype(np.float32)
    for n in (y.shape[1], 1000, y.shape[1] + 5000):
        expected = librosa.istft(D, **lengths, length=n)
        np.testing.assert_allclose(spectrogram.istft(D, **lengths, length=n), expected, atol=1e-5)


def test_channels_in_opposite_phase_do_not_cancel() -> None:
    y = make_tones()
    np.testing.assert_allclose(
        spectrogram.mel_spectrogram(np.stack([y, -y]), CONFIG),
        spectrogram.mel_spectrogram(y, CONFIG),
        atol=1e-3,
    )


def test_decibels_round_trip_above_the_floor() -> None:
    S = np.linspace(-CONFIG.top_db, 20, 50, dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        spectrogram.power_to_db(spectrogram.db_to_power(S), CONFIG.top_db), S, atol=1e-4
    )
    assert spectrogram.power_to_db(np.zeros((1, 1)), CONFIG.top_db)[0, 0] == -CONFIG.top_db


@pytest.mark.parametrize("top_db", [20.0, 60.1, 77.7, 80.0, 99.9, 160.0])
def test_0_db_is_a_mel_power_of_100_and_the_floor_holds(top_db: float) -> None:
    config = dataclasses.replace(CONFIG, top_db=top_db)
    mel = np.array([[100.0, 1000.0, 50.0, 1e-30, 0.0]], np.float32)
    with np.errstate(divide="raise", invalid="raise"):
        S = spectrogram.power_to_db(mel, config.top_db)
    assert (S.dtype, S.min()) == (np.float32, np.float32(-top_db))
    np.testing.assert_allclose(S[0], [0, 10, 10 * np.log10(0.5), -top_db, -top_db], rtol=1e-6)
    np.testing.assert_allclose(spectrogram.db_to_power(S)[0, :3], mel[0, :3], rtol=1e-6)


def test_the_shared_mel_filters_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        spectrogram.mel_filters(CONFIG)[0, 0] = 1.0


def test_frames_start_at_the_first_sample_or_are_centred_on_it() -> None:
    """Each is the FFT of n_fft samples under a Hann window, one every hop."""
    config = dataclasses.replace(CONFIG, hop_length=200)
    y = make_noise()
    n, hop = config.n_fft, config.hop_length
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    padded = np.pad(y, n // 2)
    for D, x in (
        (spectrogram.stft(y, config.n_fft, config.hop_length, center=False), y),
        (spectrogram.stft(y, config.n_fft, config.hop_length), padded),
    ):
        assert D.shape == (n // 2 + 1, 1 + (len(x) - n) // hop)
        for t in (0, 1, 7, D.shape[1] - 1):
            expected = np.fft.rfft(hann * x[t * hop : t * hop + n])
            np.testing.assert_allclose(D[:, t], expected, atol=1e-4)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 256), (1024, 200), (1025, 256)])
@pytest.mark.parametrize("n", [SR, SR + 1, SR + 255, 3 * 1024])
def test_istft_inverts_stft_at_the_exact_length(n: int, n_fft: int, hop_length: int) -> None:
    config = dataclasses.replace(CONFIG, n_fft=n_fft, hop_length=hop_length)
    y = make_noise(n / SR)[None]
    rebuilt = spectrogram.istft(
        spectrogram.stft(y, config.n_fft, config.hop_length),
        config.n_fft,
        config.hop_length,
        y.shape[1],
    )
    assert rebuilt.shape == y.shape
    np.testing.assert_allclose(rebuilt, y, atol=1e-5)


def test_mel_to_bins_interpolates_between_the_band_centres() -> None:
    centres = librosa.mel_frequencies(CONFIG.n_mels + 2, fmin=0, fmax=CONFIG.sr / 2)[1:-1]
    bins = librosa.fft_frequencies(sr=CONFIG.sr, n_fft=CONFIG.n_fft)
    # A gain that is linear in Hz comes back as that line, held beyond the outermost centres.
    expected = np.clip(bins, centres[0], centres[-1])
    np.testing.assert_allclose(spectrogram.mel_to_bins(centres, CONFIG), expected)


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("sr", [16_000, SR])
def test_a_gain_linear_in_hertz_stays_linear_between_the_centres(mel_scale: str, sr: int) -> None:
    config = dataclasses.replace(CONFIG, mel_scale=mel_scale, sr=sr)
    top = librosa.hz_to_mel(sr / 2, htk=mel_scale == "htk")
    mels = top * np.arange(1, CONFIG.n_mels + 1) / (CONFIG.n_mels + 1)
    centres = librosa.mel_to_hz(mels, htk=mel_scale == "htk")
    bins = np.arange(CONFIG.n_fft // 2 + 1) * sr / CONFIG.n_fft
    np.testing.assert_allclose(
        spectrogram.mel_to_bins(centres, config), np.clip(bins, centres[0], centres[-1]), rtol=1e-6
    )
