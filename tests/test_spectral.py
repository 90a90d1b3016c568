from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest

from audiostyle import spectral
from audiostyle.config import TransferConfig
from tests.conftest import SR, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)


def spectrum(y: np.ndarray) -> np.ndarray:
    return spectral.channel_power(spectral.stft(y[None], CONFIG))


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize(("n_fft", "hop_length", "n_mels"), [(1024, 256, 64), (2048, 512, 256)])
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
    expected = librosa.power_to_db(power, ref=spectral.REFERENCE_POWER, top_db=None)
    np.testing.assert_allclose(
        spectral.mel_spectrogram(y, config), np.maximum(expected, -config.top_db), atol=1e-3
    )


def test_channels_in_opposite_phase_do_not_cancel() -> None:
    y = make_tones()
    np.testing.assert_allclose(
        spectral.mel_spectrogram(np.stack([y, -y]), CONFIG),
        spectral.mel_spectrogram(y, CONFIG),
        atol=1e-3,
    )


def test_decibels_round_trip_above_the_floor() -> None:
    S = np.linspace(-CONFIG.top_db, 20, 50, dtype=np.float32)[:, None]
    np.testing.assert_allclose(spectral.power_to_db(spectral.db_to_power(S), CONFIG), S, atol=1e-4)
    assert spectral.power_to_db(np.zeros((1, 1)), CONFIG)[0, 0] == -CONFIG.top_db


@pytest.mark.parametrize("n", [SR, SR + 1, SR + 255, 3 * 1024])
def test_istft_inverts_stft_at_the_exact_length(n: int) -> None:
    y = make_noise(n / SR)[None]
    rebuilt = spectral.istft(spectral.stft(y, CONFIG), CONFIG, y.shape[1])
    assert rebuilt.shape == y.shape
    np.testing.assert_allclose(rebuilt, y, atol=1e-5)


def test_envelope_gain_of_a_clip_to_itself_is_zero() -> None:
    mel = spectral.mel_power(spectrum(make_tones()), CONFIG).mean(axis=1)
    np.testing.assert_allclose(spectral.envelope_gain(mel, mel, CONFIG), 0, atol=1e-9)


def test_envelope_gain_is_the_level_difference_within_its_limit() -> None:
    mel = np.full(CONFIG.n_mels, spectral.REFERENCE_POWER)
    np.testing.assert_allclose(spectral.envelope_gain(mel, 10 * mel, CONFIG), 10, atol=1e-6)
    np.testing.assert_allclose(
        spectral.envelope_gain(mel * 1e-5, mel, CONFIG), spectral.ENVELOPE_LIMIT_DB
    )


def test_mel_to_bins_interpolates_between_the_band_centres() -> None:
    centres = librosa.mel_frequencies(CONFIG.n_mels + 2, fmin=0, fmax=CONFIG.sr / 2)[1:-1]
    bins = librosa.fft_frequencies(sr=CONFIG.sr, n_fft=CONFIG.n_fft)
    # A gain that is linear in Hz comes back as that line, held beyond the outermost centres.
    expected = np.clip(bins, centres[0], centres[-1])
    np.testing.assert_allclose(spectral.mel_to_bins(centres, CONFIG), expected)


def test_fit_power_keeps_a_spectrum_that_fits_already() -> None:
    P = spectrum(make_tones())
    S = spectral.power_to_db(spectral.mel_power(P, CONFIG), CONFIG)
    np.testing.assert_allclose(spectral.fit_power(S, P, CONFIG), P, rtol=1e-4, atol=1e-8)


def test_fit_power_reaches_a_smooth_gain_and_keeps_the_fine_structure() -> None:
    P = spectrum(np.random.default_rng(0).normal(0, 0.1, SR))  # white: no band at the floor
    S = spectral.power_to_db(spectral.mel_power(P, CONFIG), CONFIG) + 6.0
    fitted = spectral.fit_power(S, P, CONFIG)
    np.testing.assert_allclose(10 * np.log10(fitted / P), 6.0, atol=0.2)


def test_fit_power_comes_nearer_with_every_update() -> None:
    P = spectrum(make_noise())
    target = spectral.mel_spectrogram(make_tones(), CONFIG)
    errors = [
        np.abs(
            spectral.power_to_db(
                spectral.mel_power(spectral.fit_power(target, P, CONFIG, n), CONFIG), CONFIG
            )
            - target
        ).mean()
        for n in (0, 1, 5, 60)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_griffin_lim_is_librosas_fast_griffin_lim() -> None:
    y = make_tones()
    magnitude = np.abs(spectral.stft(y, CONFIG))
    expected = librosa.griffinlim(
        magnitude,
        n_iter=5,
        hop_length=CONFIG.hop_length,
        n_fft=CONFIG.n_fft,
        momentum=0.99,
        init=None,
        length=len(y),
    )
    ours = spectral.griffin_lim(magnitude, np.ones_like(magnitude), CONFIG, len(y), n_iter=5)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_griffin_lim_from_the_true_phase_returns_the_signal() -> None:
    y = make_tones()[None]
    D = spectral.stft(y, CONFIG)
    rebuilt = spectral.griffin_lim(np.abs(D), spectral.unit_phase(D), CONFIG, y.shape[1], n_iter=8)
    np.testing.assert_allclose(rebuilt, y, atol=1e-4)


def spectral_convergence(y: np.ndarray, magnitude: np.ndarray, config: TransferConfig) -> float:
    """How far the STFT of a signal is from a wanted magnitude, in dB."""
    error = np.linalg.norm(np.abs(spectral.stft(y, config)) - magnitude)
    return float(20 * np.log10(error / np.linalg.norm(magnitude)))


def test_griffin_lim_lowers_the_spectral_convergence() -> None:
    magnitude = np.abs(spectral.stft(make_tones(), CONFIG))
    rng = np.random.default_rng(0)
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    convergence = [
        spectral_convergence(
            spectral.griffin_lim(magnitude, phase, CONFIG, SR, n_iter=n), magnitude, CONFIG
        )
        for n in (0, 10, 60)
    ]
    assert convergence[2] < convergence[1] < convergence[0]
    assert convergence[2] < -15


def test_round_trip_through_the_spectrogram_keeps_the_sound() -> None:
    """Content-aware inversion of an untouched spectrogram is an identity, at any mel resolution."""
    for n_mels in (16, 64):
        config = dataclasses.replace(CONFIG, n_mels=n_mels)
        y = make_tones()[None]
        D = spectral.stft(y, config)
        P = spectral.channel_power(D)
        S = spectral.power_to_db(spectral.mel_power(P, config), config)
        fitted = spectral.fit_power(S, P, config)
        rebuilt = spectral.griffin_lim(
            np.sqrt(fitted)[None], spectral.unit_phase(D), config, y.shape[1], n_iter=4
        )
        noise = np.linalg.norm(rebuilt - y) / np.linalg.norm(y)
        assert 20 * np.log10(noise) < -60


def test_digital_silence_stays_silent_whatever_is_asked_of_it() -> None:
    P = spectral.channel_power(spectral.stft(make_tones()[None], CONFIG))
    P[:, 5:9] = 0.0
    S = np.full((CONFIG.n_mels, P.shape[1]), -20.0, np.float32)
    fitted = spectral.fit_power(S, P, CONFIG)
    assert np.isfinite(fitted).all()
    assert not fitted[:, 5:9].any()
    assert (fitted[:, 9:].sum(axis=0) > 0).all()
