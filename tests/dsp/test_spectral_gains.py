"""Gains between spectrograms: of envelopes, from bands to bins, and of the fit of a power."""

from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import inversion, spectrogram
from tests.conftest import SR, make_noise
from tests.dsp.test_spectrogram import CONFIG, spectrum

WIDE = dataclasses.replace(CONFIG, n_fft=2048, hop_length=512, n_mels=256)
QUIET = 100.0 * 10.0 ** (-CONFIG.top_db / 10)  # mel power of the floor


@pytest.mark.parametrize(("n_mels", "sigma"), [(16, 0.25), (64, 1.0), (96, 1.5), (256, 4.0)])
def test_envelope_gain_is_smoothed_by_scipys_gaussian(n_mels: int, sigma: float) -> None:
    """Of 4 bands in 256, as far as three deviations, mirrored at the ends."""
    config = dataclasses.replace(WIDE, n_mels=n_mels)
    rng = np.random.default_rng(0)
    content, style = 10.0 ** rng.uniform(-1, 1, (2, n_mels))
    expected = gaussian_filter1d(
        10 * np.log10(style / content), sigma, mode="mirror", radius=int(np.ceil(3 * sigma))
    )
    assert np.abs(expected).max() < 30
    np.testing.assert_allclose(
        spectrogram.envelope_gain(content, style, config.top_db), expected, atol=1e-9
    )


@pytest.mark.parametrize(
    ("content", "style", "gain"),
    [
        (0.0, 0.0, 0.0),  # what both have not is left as it is
        (0.0, 10 * QUIET, 10.0),
        (10 * QUIET, 0.0, -10.0),
        (0.0, 1.0, 30.0),
        (1.0, 0.0, -30.0),
        (10 ** (-30.5 / 10), 1.0, 30.0),
        (1.0, 10 ** (-30.5 / 10), -30.0),
    ],
)
def test_envelope_gain_counts_from_the_floor_and_ends_at_30_db(
    content: float, style: float, gain: float
) -> None:
    bands = np.ones(CONFIG.n_mels)
    with np.errstate(all="raise"):
        found = spectrogram.envelope_gain(content * bands, style * bands, CONFIG.top_db)
    np.testing.assert_allclose(found, gain, atol=1e-9)


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("sr", [16_000, SR])
def test_a_gain_that_is_linear_in_hertz_is_so_again_between_the_centres(
    mel_scale: str, sr: int
) -> None:
    config = dataclasses.replace(CONFIG, mel_scale=mel_scale, sr=sr)
    top = librosa.hz_to_mel(sr / 2, htk=mel_scale == "htk")
    mels = top * np.arange(1, CONFIG.n_mels + 1) / (CONFIG.n_mels + 1)
    centres = librosa.mel_to_hz(mels, htk=mel_scale == "htk")
    bins = np.arange(CONFIG.n_fft // 2 + 1) * sr / CONFIG.n_fft
    np.testing.assert_allclose(
        spectrogram.mel_to_bins(centres, config), np.clip(bins, centres[0], centres[-1]), rtol=1e-6
    )


def lee_and_seung(P: np.ndarray, target: np.ndarray, config: TransferConfig) -> np.ndarray:
    """One multiplicative update for the Kullback-Leibler divergence, bin by bin."""
    M = spectrogram.mel_filters(config).astype(float)
    found = np.full(P.shape, np.nan)
    for k in np.flatnonzero(M.sum(axis=0)):
        for t in range(P.shape[1]):
            lacks = [target[b, t] / (M[b] @ P[:, t]) for b in range(len(M))]
            found[k, t] = P[k, t] * (M[:, k] @ lacks) / M[:, k].sum()
    return found


def test_an_update_is_lee_and_seungs_and_edges_follow_their_neighbours() -> None:
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


def test_what_is_silent_and_shall_be_silent_is_left_alone() -> None:
    P = spectrum(make_noise()) * 1e-12
    assert (spectrogram.mel_filters(CONFIG) @ P).max() < QUIET
    S = np.full((CONFIG.n_mels, P.shape[1]), -CONFIG.top_db, np.float32)
    with np.errstate(divide="raise", invalid="raise"):
        np.testing.assert_allclose(
            inversion.fit_power(S, P, spectrogram.mel_filters(CONFIG), CONFIG.top_db), P, rtol=1e-5
        )
