from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import inversion, spectrogram
from tests.conftest import SR, make_noise, make_tones
from tests.dsp.test_spectrogram import CONFIG, QUIET, spectrum


def test_fit_power_keeps_a_spectrum_that_fits() -> None:
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


def test_fit_power_improves_with_every_update() -> None:
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
def test_channels_are_inverted_independently(
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
def test_the_number_of_threads_follows_omp_num_threads(
    asked: str | None, cores: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion.os, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert inversion._count_threads() == workers


def test_the_phase_of_an_empty_bin_is_0() -> None:
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


def test_digital_silence_stays_silent() -> None:
    P = spectrogram.channel_power(
        spectrogram.stft(make_tones()[None], CONFIG.n_fft, CONFIG.hop_length)
    )
    P[:, 5:9] = 0.0
    S = np.full((CONFIG.n_mels, P.shape[1]), -20.0, np.float32)
    fitted = inversion.fit_power(S, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db)
    assert np.isfinite(fitted).all()
    assert not fitted[:, 5:9].any()
    assert (fitted[:, 9:].sum(axis=0) > 0).all()


def lee_and_seung(P: np.ndarray, target: np.ndarray, config: TransferConfig) -> np.ndarray:
    """One multiplicative update for the Kullback-Leibler divergence, bin by bin."""
    M = spectrogram.mel_filters(config).astype(float)
    found = np.full(P.shape, np.nan)
    for k in np.flatnonzero(M.sum(axis=0)):
        for t in range(P.shape[1]):
            lacks = [target[b, t] / (M[b] @ P[:, t]) for b in range(len(M))]
            found[k, t] = P[k, t] * (M[:, k] @ lacks) / M[:, k].sum()
    return found


def test_an_update_is_that_of_lee_and_seung_and_edges_follow_their_neighbours() -> None:
    config = dataclasses.replace(CONFIG, n_fft=256, hop_length=64, n_mels=16)
    rng = np.random.default_rng(0)
    P = rng.uniform(1, 10, (129, 3))
    S = rng.uniform(-30, 0, (16, 3)).astype(np.float32)
    fitted = inversion.fit_power(S, P, spectrogram.mel_filters(config), config.top_db, 1)
    expected = lee_and_seung(P, 100 * 10.0 ** (S.astype(float) / 10), config)
    under = np.isfinite(expected[:, 0])
    assert list(np.flatnonzero(~under)) == [0, 128]  # no filter reaches them
    np.testing.assert_allclose(fitted[under], expected[under], rtol=1e-4)
    for edge, neighbour in ((0, 1), (128, 127)):
        np.testing.assert_allclose(
            fitted[edge] / P[edge], fitted[neighbour] / P[neighbour], rtol=1e-6
        )
    np.testing.assert_array_equal(
        inversion.fit_power(S, P, spectrogram.mel_filters(config), config.top_db, 0), P
    )


def test_silent_bands_with_a_silent_target_are_left_alone() -> None:
    P = spectrum(make_noise()) * 1e-12
    assert (spectrogram.mel_filters(CONFIG) @ P).max() < QUIET
    S = np.full((CONFIG.n_mels, P.shape[1]), -CONFIG.top_db, np.float32)
    with np.errstate(divide="raise", invalid="raise"):
        np.testing.assert_allclose(
            inversion.fit_power(S, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db), P, rtol=1e-5
        )


def hold_levels(D: np.ndarray, target: np.ndarray, n_iter: int) -> np.ndarray:
    """Invert an STFT [shape=(1, bins, t)] whose mel levels are those of `target`."""
    return inversion.griffin_lim(
        np.sqrt(target),
        inversion.unit_phase(D),
        CONFIG.n_fft,
        CONFIG.hop_length,
        SR,
        n_iter=n_iter,
        momentum=inversion.MEL_MOMENTUM,
        mel_filters=spectrogram.mel_filters(CONFIG),
    )


def test_held_mel_levels_are_reached() -> None:
    """The levels of another clip, which some signal has: 1.0 dB after 48 iterations."""
    D = spectrogram.stft(make_noise()[None], CONFIG.n_fft, CONFIG.hop_length)
    P = spectrogram.channel_power(D)
    S = spectrogram.mel_spectrogram(make_tones(), CONFIG)
    fitted = inversion.fit_power(S, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db)[None]
    found = [spectrogram.mel_spectrogram(hold_levels(D, fitted, n), CONFIG) for n in (0, 48)]
    audible = S > -50
    errors = [np.abs(S_found - S)[audible].mean() for S_found in found]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 1.5  # dB


def test_a_signal_that_has_the_levels_is_kept() -> None:
    y = make_tones()[None]
    D = spectrogram.stft(y, CONFIG.n_fft, CONFIG.hop_length)
    first, again = (hold_levels(D, np.abs(D) ** 2, 16) for _ in range(2))
    np.testing.assert_allclose(first, y, atol=1e-4)
    np.testing.assert_array_equal(again, first)


def test_held_silence_is_finite_and_silent() -> None:
    D = spectrogram.stft(make_tones()[None], CONFIG.n_fft, CONFIG.hop_length)
    with np.errstate(divide="raise", invalid="raise"):
        assert not hold_levels(0 * D, np.abs(0 * D), 8).any()
    gated = np.abs(D) ** 2
    gated[:, :, : gated.shape[2] // 2] = 0.0
    y = hold_levels(D, gated, 16)
    assert np.isfinite(y).all()
    n = SR // 2 - 2 * CONFIG.n_fft
    assert np.sqrt(np.mean(y[0, :n] ** 2)) < 1e-4 * np.sqrt(np.mean(y**2))


def test_unknown_levels_are_filled_in_and_known_ones_kept() -> None:
    filters, top_db = spectrogram.mel_filters(CONFIG), CONFIG.top_db
    P = spectrum(make_noise())
    S = np.full((CONFIG.n_mels, P.shape[1]), -20.0, np.float32)
    S[:, 3:6] = -top_db
    P[:, 4] = 0.0
    levels = [
        inversion.fill_quiet(S, P, filters, top_db, -top_db - 20, strength)
        for strength in (0.0, 0.5, 1.0)
    ]
    for filled in levels:
        np.testing.assert_array_equal(filled[:, :3], S[:, :3])
    assert [filled[9, 3] for filled in levels] == [-top_db, -top_db - 10, -top_db - 20]
    assert levels[0][9, 4] == pytest.approx(inversion.QUIETEST_DB)
    fitted = inversion.fit_power(levels[2], P, filters, top_db)
    reached = 10 * np.log10(filters @ fitted[:, [3, 5]] / spectrogram.REFERENCE_POWER)
    assert np.abs(reached + top_db + 20).mean() < 1.0  # dB: 60 updates do not reach all bands
    assert not fitted[:, 4].any()
