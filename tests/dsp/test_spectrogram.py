from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import inversion, spectrogram
from tests.conftest import SR, make_noise, make_tones

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)


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
def test_0_db_is_a_mel_power_of_100_and_nothing_lies_below_the_floor(top_db: float) -> None:
    config = dataclasses.replace(CONFIG, top_db=top_db)
    mel = np.array([[100.0, 1000.0, 50.0, 1e-30, 0.0]], np.float32)
    with np.errstate(divide="raise", invalid="raise"):
        S = spectrogram.power_to_db(mel, config.top_db)
    assert (S.dtype, S.min()) == (np.float32, np.float32(-top_db))
    np.testing.assert_allclose(S[0], [0, 10, 10 * np.log10(0.5), -top_db, -top_db], rtol=1e-6)
    np.testing.assert_allclose(spectrogram.db_to_power(S)[0, :3], mel[0, :3], rtol=1e-6)


def test_the_filters_that_all_share_cannot_be_spoiled() -> None:
    with pytest.raises(ValueError, match="read-only"):
        spectrogram.mel_filters(CONFIG)[0, 0] = 1.0


def test_frames_begin_with_the_first_sample_or_are_centred_on_it() -> None:
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


def test_envelope_gain_of_a_clip_to_itself_is_zero() -> None:
    mel = (spectrogram.mel_filters(CONFIG) @ spectrum(make_tones())).mean(axis=1)
    np.testing.assert_allclose(spectrogram.envelope_gain(mel, mel, CONFIG.top_db), 0, atol=1e-9)


def test_envelope_gain_is_the_level_difference_within_its_limit() -> None:
    mel = np.full(CONFIG.n_mels, spectrogram.REFERENCE_POWER)
    np.testing.assert_allclose(
        spectrogram.envelope_gain(mel, 10 * mel, CONFIG.top_db), 10, atol=1e-6
    )
    np.testing.assert_allclose(
        spectrogram.envelope_gain(mel * 1e-5, mel, CONFIG.top_db), spectrogram.ENVELOPE_LIMIT_DB
    )


def test_mel_to_bins_interpolates_between_the_band_centres() -> None:
    centres = librosa.mel_frequencies(CONFIG.n_mels + 2, fmin=0, fmax=CONFIG.sr / 2)[1:-1]
    bins = librosa.fft_frequencies(sr=CONFIG.sr, n_fft=CONFIG.n_fft)
    # A gain that is linear in Hz comes back as that line, held beyond the outermost centres.
    expected = np.clip(bins, centres[0], centres[-1])
    np.testing.assert_allclose(spectrogram.mel_to_bins(centres, CONFIG), expected)


def test_fit_power_keeps_a_spectrum_that_fits_already() -> None:
    P = spectrum(make_tones())
    S = spectrogram.mel_db(P, CONFIG)
    np.testing.assert_allclose(
        inversion.fit_power(S, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db),
        P,
        rtol=1e-4,
        atol=1e-8,
    )


@pytest.mark.parametrize(("n_fft", "n_mels", "sr"), [(1024, 64, SR), (4096, 256, 44_100)])
def test_fit_power_reaches_a_smooth_gain_and_keeps_the_fine_structure(
    n_fft: int, n_mels: int, sr: int
) -> None:
    """In every bin: the last is under no filter, or (44,100 Hz) under a rounding error of one."""
    config = dataclasses.replace(CONFIG, n_fft=n_fft, n_mels=n_mels, sr=sr)
    y = np.random.default_rng(0).normal(0, 0.1, SR)  # white: no band at the floor
    P = spectrogram.channel_power(spectrogram.stft(y[None], config.n_fft, config.hop_length))
    S = spectrogram.mel_db(P, config) + 6.0
    fitted = inversion.fit_power(S, P, spectrogram.mel_filters(config), config.top_db)
    np.testing.assert_allclose(10 * np.log10(fitted / P), 6.0, atol=0.2)


def test_fit_power_comes_nearer_with_every_update() -> None:
    P = spectrum(make_noise())
    target = spectrogram.mel_spectrogram(make_tones(), CONFIG)
    errors = [
        np.abs(
            spectrogram.mel_db(
                inversion.fit_power(target, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db, n),
                CONFIG,
            )
            - target
        ).mean()
        for n in (0, 1, 5, 60)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_griffin_lim_is_librosas_fast_griffin_lim(momentum: float) -> None:
    y = make_tones()
    magnitude = np.abs(spectrogram.stft(y, CONFIG.n_fft, CONFIG.hop_length))
    expected = librosa.griffinlim(
        magnitude,
        n_iter=5,
        hop_length=CONFIG.hop_length,
        n_fft=CONFIG.n_fft,
        momentum=momentum,
        init=None,
        length=len(y),
    )
    # librosa's phase is 0 / tiny = 0 where there is nothing; ours is 1, and counts for nothing.
    phase = np.ones_like(magnitude)
    ours = inversion.griffin_lim(
        magnitude, phase, CONFIG.n_fft, CONFIG.hop_length, len(y), n_iter=5, momentum=momentum
    )
    np.testing.assert_allclose(ours, expected, atol=1e-3 * np.abs(expected).max())
    if momentum == 0.99:  # as librosa's, unless another is asked for
        again = inversion.griffin_lim(
            magnitude, phase, CONFIG.n_fft, CONFIG.hop_length, len(y), n_iter=5
        )
        np.testing.assert_array_equal(again, ours)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_channels_are_inverted_each_alone(
    n_channels: int, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", workers)
    rng = np.random.default_rng(0)
    y = np.stack([make_noise(0.3, seed=i) for i in range(n_channels)])
    magnitude = np.abs(spectrogram.stft(y, CONFIG.n_fft, CONFIG.hop_length))
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    together = inversion.griffin_lim(
        magnitude, phase, CONFIG.n_fft, CONFIG.hop_length, y.shape[1], n_iter=3
    )
    assert together.shape == y.shape
    for ours, M, p in zip(together, magnitude, phase, strict=True):
        alone = inversion.griffin_lim(M, p, CONFIG.n_fft, CONFIG.hop_length, y.shape[1], n_iter=3)
        np.testing.assert_allclose(ours, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "cores", "workers"),
    [
        *[("3", 8, 3), ("1", 8, 1), ("0", 8, 8), ("", 8, 8), ("many", 8, 8), ("-2", 8, 8)],
        *[(None, 8, 8), (None, None, 1)],
    ],
)
def test_as_many_threads_work_as_are_allowed(
    asked: str | None, cores: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion.os, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert inversion._count_threads() == workers


def test_where_nothing_says_the_phase_it_is_0() -> None:
    D = spectrogram.stft(make_tones(), CONFIG.n_fft, CONFIG.hop_length)
    D[:, 3:5] = 0.0
    with np.errstate(all="raise", under="ignore"):
        phase = inversion.unit_phase(D)
        silent = inversion.griffin_lim(
            0 * np.abs(D), phase, CONFIG.n_fft, CONFIG.hop_length, SR, n_iter=3
        )
        # A phase of modulus 0 leaves nothing to take a phase from.
        found = inversion.griffin_lim(
            np.abs(D), 0 * phase, CONFIG.n_fft, CONFIG.hop_length, SR, n_iter=1
        )
    assert phase.dtype == np.complex64
    np.testing.assert_allclose(np.abs(phase), 1, rtol=1e-5)
    np.testing.assert_allclose(phase * np.abs(D), D, atol=1e-6)
    assert (phase[:, 3:5] == 1).all()
    assert not silent.any()
    np.testing.assert_allclose(
        found, spectrogram.istft(np.abs(D) + 0j, CONFIG.n_fft, CONFIG.hop_length, SR), atol=1e-6
    )


def test_griffin_lim_from_the_true_phase_returns_the_signal() -> None:
    y = make_tones()[None]
    D = spectrogram.stft(y, CONFIG.n_fft, CONFIG.hop_length)
    rebuilt = inversion.griffin_lim(
        np.abs(D), inversion.unit_phase(D), CONFIG.n_fft, CONFIG.hop_length, y.shape[1], n_iter=8
    )
    np.testing.assert_allclose(rebuilt, y, atol=1e-4)


def spectral_convergence(y: np.ndarray, magnitude: np.ndarray, config: TransferConfig) -> float:
    """How far the STFT of a signal is from a wanted magnitude, in dB."""
    error = np.linalg.norm(np.abs(spectrogram.stft(y, config.n_fft, config.hop_length)) - magnitude)
    return float(20 * np.log10(error / np.linalg.norm(magnitude)))


def test_griffin_lim_lowers_the_spectral_convergence() -> None:
    magnitude = np.abs(spectrogram.stft(make_tones(), CONFIG.n_fft, CONFIG.hop_length))
    rng = np.random.default_rng(0)
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    convergence = [
        spectral_convergence(
            inversion.griffin_lim(magnitude, phase, CONFIG.n_fft, CONFIG.hop_length, SR, n_iter=n),
            magnitude,
            CONFIG,
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
        D = spectrogram.stft(y, config.n_fft, config.hop_length)
        P = spectrogram.channel_power(D)
        S = spectrogram.mel_db(P, config)
        fitted = inversion.fit_power(S, P, spectrogram.mel_filters(config), config.top_db)
        rebuilt = inversion.griffin_lim(
            np.sqrt(fitted)[None],
            inversion.unit_phase(D),
            config.n_fft,
            config.hop_length,
            y.shape[1],
            n_iter=4,
        )
        noise = np.linalg.norm(rebuilt - y) / np.linalg.norm(y)
        assert 20 * np.log10(noise) < -60


def test_digital_silence_stays_silent_whatever_is_asked_of_it() -> None:
    P = spectrogram.channel_power(
        spectrogram.stft(make_tones()[None], CONFIG.n_fft, CONFIG.hop_length)
    )
    P[:, 5:9] = 0.0
    S = np.full((CONFIG.n_mels, P.shape[1]), -20.0, np.float32)
    fitted = inversion.fit_power(S, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db)
    assert np.isfinite(fitted).all()
    assert not fitted[:, 5:9].any()
    assert (fitted[:, 9:].sum(axis=0) > 0).all()
