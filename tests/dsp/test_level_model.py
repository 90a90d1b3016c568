"""Levels by notes and onsets: closed forms of each part, and a style whose answer is known."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import level_model, notes, spectrogram
from audiostyle.dsp.level_model import (
    LevelAnalysis,
    LevelStatistics,
    blend_levels,
    conditional_gain,
    envelope_gain,
    fit_notes,
    measure_levels,
    onset_weights,
    predict_levels,
    prominence_weights,
    quiet_level,
    quiet_power,
    restore_contrast,
    shrink_change,
)
from tests.conftest import ORGAN, REED, SR, Array, decibels_of

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4)
SECONDS = CONFIG.hop_length / CONFIG.sr
N_MELS, K = CONFIG.n_mels, notes.N_FEATURES


def make_clip(n_frames: int = 120, seed: int = 0) -> LevelAnalysis:
    """Make levels and features by chance, with onsets every 30 frames."""
    rng = np.random.default_rng(seed)
    rise = 20 * np.exp(-(np.arange(n_frames) % 30) / 5)
    S = rng.uniform(-60, -30, (N_MELS, n_frames)) + rise
    return analysis_of(S.astype(np.float32), seed)


def analysis_of(S: Array, seed: int = 0) -> LevelAnalysis:
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 2, (K, N_MELS, S.shape[1])).astype(np.float32)
    features[0] = 1
    return LevelAnalysis(S, features, onset_weights(S, SECONDS), prominence_weights(S))


def joined(*clips: LevelAnalysis) -> LevelAnalysis:
    names = [field.name for field in fields(LevelAnalysis)]
    return LevelAnalysis(*(np.concatenate([getattr(c, n) for c in clips], -1) for n in names))


def assert_same(a: LevelStatistics, b: LevelStatistics, rtol: float = 1e-4) -> None:
    for field in fields(LevelStatistics):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        scale = np.abs(theirs).max() + 1e-12
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=rtol, err_msg=field.name)


def test_sums_are_those_of_the_definition() -> None:
    clip = make_clip(40)
    found = measure_levels(clip, np.array([0.5, 7.0]))
    X, S = clip.features.astype(float), clip.S.astype(float)
    expected = LevelStatistics(
        features=np.einsum("kbt,lbt->bkl", X, X),
        levels=np.einsum("kbt,bt->bk", X, S),
        squares=(S**2).sum(axis=1),
        power=spectrogram.db_to_power(S).sum(axis=1),
        class_weights=np.einsum("pbt,ot->pob", clip.by_prominence, clip.by_onset),
        class_levels=np.einsum("pbt,ot,bt->pob", clip.by_prominence, clip.by_onset, S),
        quiet=np.array([0.5, 7.0]),
    )
    assert_same(found, expected)
    assert found.n_frames == 40


def test_the_sums_of_two_clips_are_those_of_both_in_one() -> None:
    a, b = make_clip(80), make_clip(50, seed=1)
    assert_same(measure_levels(a) + measure_levels(b), measure_levels(joined(a, b)))
    assert_same(3 * measure_levels(a), measure_levels(joined(a, a, a)))


def test_styles_are_blended_by_their_weights_whatever_their_lengths() -> None:
    a, b = (measure_levels(make_clip(n, seed)) for n, seed in ((80, 0), (240, 1)))
    blend = blend_levels([a, b], [3.0, 1.0])
    assert blend.n_frames == pytest.approx(320)
    for name in ("levels", "class_levels", "power"):
        mean = [getattr(one, name) / one.n_frames for one in (a, b)]
        np.testing.assert_allclose(
            getattr(blend, name) / blend.n_frames, 0.75 * mean[0] + 0.25 * mean[1], rtol=1e-6
        )
    assert_same(blend_levels([a, b], [30.0, 10.0]), blend)
    assert_same(blend_levels([a], [0.2]), a)


def test_a_linear_style_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a ridge, the slopes are those that the levels were made with, and explain all."""
    monkeypatch.setattr(level_model, "RIDGE", 0.0)
    rng = np.random.default_rng(1)
    slopes, bias = rng.normal(0, 1, K - 1), -45.0
    features = make_clip(400).features
    S = bias + np.einsum("k,kbt->bt", slopes, features[1:])
    clip = replace(make_clip(400), S=S.astype(np.float32))
    coefficients, explained, error = fit_notes(measure_levels(clip))
    np.testing.assert_allclose(coefficients[:, 1:], np.tile(slopes, (N_MELS, 1)), atol=1e-3)
    np.testing.assert_allclose(coefficients[:, 0], bias, atol=1e-2)
    assert explained == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(error, 0.0, atol=1e-2)


@pytest.mark.parametrize("ridge", [0.0, 20.0, 500.0])
def test_each_band_is_fitted_by_least_squares(
    ridge: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where bands are not smoothed: as `numpy.linalg.lstsq` with a row per penalty.

    The slopes of a band are drawn to those over all bands, which are drawn to 0.
    """
    monkeypatch.setattr(level_model, "RIDGE", ridge)
    monkeypatch.setattr(level_model, "SMOOTH_BANDS", 1e-6)
    clip = make_clip(200)
    coefficients, explained, error = fit_notes(measure_levels(clip))
    X = clip.features[1:].astype(float).transpose(1, 2, 0)  # (n_mels, t, k)
    y, eye = clip.S.astype(float), np.eye(K - 1)
    scale = np.sqrt(X.var(axis=1).mean(axis=0) + level_model.SCALE_FLOOR**2)
    centred = (X - X.mean(axis=1, keepdims=True)) / scale
    level = y.mean(axis=1)
    rows = np.vstack(
        [*centred / np.sqrt(N_MELS), np.sqrt(level_model.POOLED_RIDGE) * eye],
    )
    right = np.r_[((y - level[:, None]) / np.sqrt(N_MELS)).ravel(), np.zeros(K - 1)]
    pooled = np.linalg.lstsq(rows, right, rcond=None)[0]
    for band in range(0, N_MELS, 9):
        rows = np.vstack([centred[band], np.sqrt(ridge) * eye])
        right = np.r_[y[band] - level[band], np.sqrt(ridge) * pooled]
        slopes = np.linalg.lstsq(rows, right, rcond=None)[0] / scale
        expected = np.r_[level[band] - slopes @ X[band].mean(axis=0), slopes]
        np.testing.assert_allclose(coefficients[band], expected, atol=2e-3)
    fitted = np.einsum("bk,kbt->bt", coefficients, clip.features)
    np.testing.assert_allclose(error, np.square(clip.S - fitted).mean(axis=1), rtol=1e-3)
    unexplained = error.sum() / clip.S.var(axis=1).sum()
    assert explained == pytest.approx(1 - unexplained, abs=1e-3)


def test_a_band_where_the_style_plays_nothing_has_the_slopes_of_the_others() -> None:
    """Its features do not vary; the slopes over all bands are half of those of the others."""
    clip = make_clip(4000)
    features = clip.features.copy()
    features[1:, N_MELS // 2 :] = 0
    S = -45 + 2 * features[1] - features[2]
    coefficients = fit_notes(measure_levels(replace(clip, features=features, S=S)))[0]
    expected = np.r_[2.0, -1.0, np.zeros(K - 3)]
    for band in (0, N_MELS - 1):
        np.testing.assert_allclose(coefficients[band, 1:], expected, atol=0.02)
    np.testing.assert_allclose(coefficients[N_MELS - 1, 0], -45, atol=1e-3)


def test_notes_explain_nothing_of_levels_by_chance() -> None:
    assert fit_notes(measure_levels(make_clip(5000)))[1] < 0.05


def test_a_clip_has_no_gain_to_itself() -> None:
    clip = make_clip()
    own = measure_levels(clip)
    np.testing.assert_allclose(conditional_gain(clip, own, own), 0, atol=1e-6)
    np.testing.assert_allclose(envelope_gain(own, own), 0, atol=1e-9)


@pytest.mark.parametrize(("gain", "expected"), [(6.0, 6.0), (-12.0, -12.0), (60.0, 45.0)])
def test_a_style_that_is_only_louder_gives_its_gain(gain: float, expected: float) -> None:
    """Exactly, as every class is known: the prior of a class is shifted as well."""
    clip = make_clip(400)
    own = measure_levels(clip)
    style = measure_levels(replace(clip, S=clip.S + np.float32(gain)))
    np.testing.assert_allclose(conditional_gain(clip, own, style), expected, atol=0.02)
    np.testing.assert_allclose(envelope_gain(own, style), np.clip(gain, -30, 30), atol=1e-3)


def test_the_envelope_gain_is_that_of_the_mean_powers_smoothed_over_bands() -> None:
    """A line over the bands stays a line, but near the ends."""
    style = make_clip()
    line = np.linspace(-10, 10, N_MELS)
    own = measure_levels(style)
    tilted = measure_levels(replace(style, S=style.S + line[:, None].astype(np.float32)))
    np.testing.assert_allclose(envelope_gain(own, tilted)[4:-4], line[4:-4], atol=1e-2)
    longer = 5 * tilted  # the mean counts, not the length
    np.testing.assert_allclose(envelope_gain(own, longer), envelope_gain(own, tilted))


@pytest.mark.parametrize(("band_period", "frame_period"), [(16, 50), (64, 8), (8, 20)])
def test_contrast_over_bands_is_restored_and_jitter_over_time_removed(
    band_period: int, frame_period: int
) -> None:
    """By the transfer function of a Gaussian, ``exp(-2 (pi deviation / period)^2)``."""
    bands = np.cos(2 * np.pi * np.arange(256) / band_period)[:, None]
    frames = np.cos(2 * np.pi * np.arange(400) / frame_period)

    def passed(deviation: float, period: int) -> float:
        return float(np.exp(-2 * (np.pi * deviation / period) ** 2))

    over_bands = 1 + level_model.CONTRAST * (1 - passed(2.0, band_period))
    over_time = passed(level_model.CONTRAST_FRAMES, frame_period)
    found = restore_contrast(-40 + 10 * bands * frames)
    expected = -40 + 10 * over_bands * over_time * bands * frames
    inner = np.s_[16:-16, 8:-8]  # the ends are repeated
    np.testing.assert_allclose(found[inner], expected[inner], atol=0.05)


@pytest.mark.parametrize(("error", "share"), [(0.0, 1.0), (40.0, 0.88), (1e6, 0.0)])
def test_a_change_is_shrunk_by_the_error_of_its_model(error: float, share: float) -> None:
    """By ``1 - .3 error / change^2``: a change of 10 dB by .12 where the error is 40 dB^2."""
    S = make_clip().S
    change = 10 * np.sign(np.random.default_rng(0).normal(0, 1, S.shape))
    shrunk = shrink_change(S, S + change, np.full(N_MELS, error))
    np.testing.assert_allclose(shrunk, S + share * change, atol=1e-3)


def test_the_quiet_level_is_the_mean_power_below_the_floor() -> None:
    floor = 100.0 * 10 ** (-8.0)
    mel = np.array([[0.5 * floor, 3.0, 0.25 * floor], [2 * floor, 1.0, 0.0]])
    quiet = quiet_power(mel, 80.0)
    np.testing.assert_allclose(quiet, [0.75 * floor, 3])
    assert quiet_level(quiet, 80.0) == pytest.approx(-80 + 10 * np.log10(0.25))
    assert quiet_level(quiet + quiet, 80.0) == pytest.approx(quiet_level(quiet, 80.0))
    assert quiet_level(np.zeros(2), 80.0) == pytest.approx(-80)  # none are below
    assert quiet_level(np.array([0.0, 9.0]), 80.0) == pytest.approx(-160)  # digital silence


def test_weights_of_the_classes_are_memberships() -> None:
    clip = make_clip()
    for weights in (clip.by_onset, clip.by_prominence):
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)


def test_classes_follow_the_time_since_the_onset() -> None:
    """Half an FFT before a note begins, the first frame sees it."""
    t, seen = np.arange(160), CONFIG.n_fft // 2 // CONFIG.hop_length
    S = np.full((N_MELS, 160), -60.0, np.float32)
    for onset in (40, 100):
        since = t - (onset - seen)
        S += np.where(since >= 0, 50 * np.exp(-np.maximum(since, 0) / 8), 0).astype(np.float32)
    classes = onset_weights(S, SECONDS).argmax(axis=0)
    for onset in (40, 100):
        after = classes[onset : onset + 55]
        assert after[0] <= 1 and np.all(np.diff(after) >= 0)
        # 0.6 s after the onset: the class whose centre that is, or a neighbour.
        nearest = np.abs(np.array(level_model.ONSET_CLASSES) - 54 * SECONDS).argmin()
        assert abs(int(after[54]) - nearest) <= 1
    assert np.all(classes[:30] == len(level_model.ONSET_CLASSES) - 1)  # before the first


def test_a_partial_is_a_peak_and_the_gap_beside_it_a_valley() -> None:
    S = np.full((256, 3), -50.0, np.float32)
    S[::8] = -20  # a comb
    classes = prominence_weights(S).argmax(axis=0)
    assert np.all(classes[::8] == 2) and np.all(classes[4::8] < 2)
    assert np.all(prominence_weights(np.zeros((256, 3), np.float32)).argmax(axis=0) == 1)


SCORE = [(57, 0.0), (64, 0.5), (60, 1.0), (67, 1.5), (62, 2.0), (69, 2.5), (57, 3.0), (65, 3.5)]
OTHER = [(60, 0.0), (65, 0.5), (57, 1.0), (69, 1.5), (64, 2.0), (59, 2.5), (67, 3.0), (62, 3.5)]
LENGTH = 4.0


def render(score: list[tuple[int, float]], partials: tuple[float, ...], decay: float) -> Array:
    """Play notes of half a second (MIDI number, onset in s), which fall by `decay` nepers/s."""
    y, n = np.zeros(round(LENGTH * SR)), round(0.5 * SR)
    t = np.arange(n) / SR
    envelope = np.minimum(1, t / 0.005) * np.exp(-decay * t) * np.minimum(1, (0.5 - t) / 0.01)
    for midi, onset in score:
        start, f0 = round(onset * SR), 440 * 2 ** ((midi - 69) / 12)
        for k, amplitude in enumerate(partials, 1):
            y[start : start + n] += 0.1 * amplitude * envelope * np.sin(2 * np.pi * k * f0 * t + k)
    return (y + 1e-4 * np.random.default_rng(0).standard_normal(len(y))).astype(np.float32)


def analyze_score(score: list[tuple[int, float]], y: Array) -> LevelAnalysis:
    """Analyse a rendering with a transcription that knows its score."""
    S = spectrogram.mel_spectrogram(y, CONFIG)
    note, onset = np.zeros((2, notes.N_KEYS, S.shape[1]), np.float32)
    for midi, start in score:
        first = round(start / SECONDS)
        note[midi - notes.LOWEST_KEY, first : first + round(0.45 / SECONDS)] = 1
        onset[midi - notes.LOWEST_KEY, first] = 1
    return level_model.analyze_levels(S, notes.make_roll(note, onset, S, CONFIG), CONFIG)


def test_a_sustained_content_gets_the_decay_and_the_timbre_of_the_style() -> None:
    """Nearer to its notes played by the style's instrument, by more than half the distance."""
    content = analyze_score(SCORE, render(SCORE, ORGAN, 0.0))
    style = measure_levels(analyze_score(OTHER, render(OTHER, REED, 6.0)))
    truth = spectrogram.mel_spectrogram(render(SCORE, REED, 6.0), CONFIG)
    S, confidence = predict_levels(content, style)
    assert confidence > 0.9
    before, after = (np.abs(one - truth).mean() for one in (content.S, S))
    assert after < 0.5 * before
    # Bands that sound fall within the notes as they do in the truth.
    first = np.arange(0, 8) * 0.5 / SECONDS
    early, late = ((first + s / SECONDS).round().astype(int) for s in (0.06, 0.36))

    def fall(levels: Array) -> float:
        return float((levels[:, early].max(axis=0) - levels[:, late].max(axis=0)).mean())

    assert abs(fall(content.S)) < 1
    assert fall(truth) == pytest.approx(6 * 0.3 * 20 / np.log(10), abs=2)
    assert fall(S) > 0.8 * fall(truth)


def test_where_notes_explain_nothing_only_the_envelope_moves() -> None:
    clip, style = make_clip(2000), measure_levels(make_clip(2000, seed=1))
    S, confidence = predict_levels(clip, style)
    assert confidence == 0
    gain = envelope_gain(measure_levels(clip), style)
    np.testing.assert_allclose(S, clip.S + gain[:, None], atol=1e-4)


def test_a_clip_is_nearly_its_own_prediction() -> None:
    clip = analyze_score(SCORE, render(SCORE, ORGAN, 3.0))
    S, confidence = predict_levels(clip, measure_levels(clip))
    assert confidence > 0.9
    assert decibels_of(S - clip.S, clip.S - clip.S.mean()) < -10
