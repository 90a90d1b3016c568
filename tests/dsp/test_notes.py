"""Notes: decisions on constructed posteriors, and combs against spectrograms of known sounds."""

from __future__ import annotations

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import notes, spectrogram
from audiostyle.dsp.notes import N_FEATURES, N_KEYS, NoteRoll, align_posteriors, make_roll
from tests.conftest import SR, Array

CONFIG = TransferConfig()
SECONDS = CONFIG.hop_length / CONFIG.sr
KEY, T = 48, 60  # MIDI 69, 440 Hz


def posteriors(*sounding: tuple[int, int], onsets: tuple[int, ...] = ()) -> tuple[Array, Array]:
    """Let `KEY` sound in the ranges of frames, with onsets that the transcriber is sure of."""
    note, onset = np.full((2, N_KEYS, T), 0.05, np.float32)
    for start, stop in sounding:
        note[KEY, start:stop] = 0.8
    onset[KEY, list(onsets)] = 0.9
    return note, onset


def levels(*values: tuple[int, float], key: int = KEY) -> Array:
    """Make a spectrogram [shape=(n_mels, T), dB] whose first three partials of a key have levels.

    Each of `values` is the frame from which on a level holds.
    """
    S = np.full((CONFIG.n_mels, T), -80.0, np.float32)
    centres = spectrogram.band_centres(CONFIG)
    for rank in (1, 2, 3):
        band = np.abs(centres - rank * notes.key_frequencies()[key]).argmin()
        for first, level in values:
            S[band, first:] = level
    return S


def test_keys_are_those_of_a_piano() -> None:
    frequencies = notes.key_frequencies()
    assert frequencies.shape == (N_KEYS,)
    np.testing.assert_allclose(frequencies[[0, KEY, -1]], [27.5, 440.0, 4186.009], rtol=1e-6)


def test_age_and_release_count_from_onset_and_end() -> None:
    roll = make_roll(*posteriors((10, 30), onsets=(10,)), levels((0, -20.0)), CONFIG)
    frames = np.arange(T)
    age = np.where(frames < 10, np.inf, (frames - 10) * SECONDS)
    released = np.where(frames < 10, np.inf, np.maximum(frames - 29, 0) * SECONDS)
    np.testing.assert_allclose(roll.age[KEY], age, rtol=1e-6)
    np.testing.assert_allclose(roll.released[KEY], released, rtol=1e-6)
    # The only note has the mean power of sounding notes.
    np.testing.assert_allclose(roll.power[KEY], frames >= 10, rtol=1e-5)
    others = np.arange(N_KEYS) != KEY
    assert np.isinf(roll.age[others]).all() and not roll.power[others].any()


@pytest.mark.parametrize(
    ("sounding", "onsets", "starts"),
    [
        (((10, 30),), (10,), [10]),
        (((10, 30),), (), [10]),  # a note that begins without an onset
        (((10, 40),), (10, 25), [10, 25]),  # struck again
        (((10, 20), (30, 40)), (10, 30), [10, 30]),
        (((10, 20),), (10, 50), [10]),  # an onset without a note
        (((0, 20),), (), [0]),
        (((10, 40),), (10, 24, 25), [10, 24, 25]),  # of equal peaks, both
    ],
)
def test_notes_start_where_they_begin_and_at_onsets(
    sounding: tuple[tuple[int, int], ...], onsets: tuple[int, ...], starts: list[int]
) -> None:
    roll = make_roll(*posteriors(*sounding, onsets=onsets), levels((0, -20.0)), CONFIG)
    assert np.flatnonzero(roll.age[KEY] == 0).tolist() == starts


def test_weak_posteriors_and_slopes_of_onsets_are_no_notes() -> None:
    note, onset = posteriors((10, 40), onsets=(25,))
    onset[KEY, [24, 26]] = 0.7  # beside the peak
    note[KEY + 1], onset[KEY + 1] = notes.NOTE_THRESHOLD, 0.9
    roll = make_roll(note, onset, levels((0, -20.0)), CONFIG)
    assert np.flatnonzero(roll.age[KEY] == 0).tolist() == [10, 25]
    assert not roll.power[KEY + 1].any()


def test_velocity_is_the_power_of_the_partials_after_the_onset() -> None:
    """Two notes of 10 dB and 20 frames each: powers 1 and 10 have a mean of 5.5."""
    S = levels((0, -20.0), (30, -10.0))
    roll = make_roll(*posteriors((5, 25), (30, 50), onsets=(5, 30)), S, CONFIG)
    np.testing.assert_allclose(roll.power[KEY, 5:30], 1 / 5.5, rtol=1e-4)
    np.testing.assert_allclose(roll.power[KEY, 30:], 10 / 5.5, rtol=1e-4)
    # A sound that swells within 0.1 s of the onset counts, a later one does not.
    width = round(notes.VELOCITY_SECONDS / SECONDS)
    for delay, expected in ((width - 1, 10.0), (width, 1.0)):
        swelling = levels((0, -20.0), (5 + delay, -10.0))
        powers = make_roll(*posteriors((5, 20), (40, 55)), swelling, CONFIG).power[KEY]
        assert powers[10] / powers[45] == pytest.approx(expected / 10, rel=1e-4)


def test_a_clip_without_notes_has_finite_features() -> None:
    none = np.zeros((N_KEYS, T), np.float32)
    features = notes.note_features(make_roll(none, none, levels(), CONFIG), CONFIG)
    assert features.shape == (N_FEATURES, CONFIG.n_mels, T)
    np.testing.assert_array_equal(features[0], 1)
    floor = np.log10(notes.COMB_FLOOR) + 3
    np.testing.assert_allclose(features[1:], floor, atol=1e-5)


def test_features_follow_their_laws() -> None:
    """At a partial of one note: decays and releases are exponentials, in units of 10 dB."""
    power, age, released = (np.zeros((N_KEYS, T), np.float32) for _ in range(3))
    frames = np.arange(T) * SECONDS
    power[KEY], age[KEY] = 2.0, frames
    released[KEY] = np.maximum(frames - 0.5, 0)
    age[:KEY] = age[KEY + 1 :] = np.inf
    roll = NoteRoll(power, age, released)
    features = notes.note_features(roll, CONFIG) - 3  # log10 of the power
    band = np.abs(spectrogram.band_centres(CONFIG) - 440).argmin()
    at = features[:, band]
    sounds, after = released[KEY] == 0, released[KEY] > 0
    rows = [*zip(range(2, 5), notes.DECAYS_SECONDS, strict=True)]
    for row, tau in rows:
        decay = at[row, sounds] - at[1, sounds]
        usable = at[row, sounds] > -4  # far above the floor
        np.testing.assert_allclose(
            decay[usable], (-age[KEY, sounds] / tau / np.log(10))[usable], atol=0.01
        )
        np.testing.assert_allclose(at[row, after], np.log10(notes.COMB_FLOOR), atol=1e-5)
    for row, tau in zip((5, 6), notes.RELEASES_SECONDS, strict=True):
        gone = at[row, after] - at[1, 0]
        usable = at[row, after] > -4
        np.testing.assert_allclose(
            gone[usable], (-released[KEY, after] / tau / np.log(10))[usable], atol=0.01
        )
        np.testing.assert_allclose(at[row, sounds], np.log10(notes.COMB_FLOOR), atol=1e-5)
    # Attacks and the power of all notes are the same in all bands.
    for row, tau in zip((12, 13), notes.ATTACKS_SECONDS, strict=True):
        expected = np.log10(notes.COMB_FLOOR + 2 * np.exp(-frames / tau))
        np.testing.assert_allclose(features[row], np.tile(expected, (256, 1)), atol=1e-4)
    expected = np.log10(notes.COMB_FLOOR + 2.0 * sounds)
    np.testing.assert_allclose(features[14], np.tile(expected, (256, 1)), atol=1e-4)


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("key", [24, 48, 72])
@pytest.mark.parametrize("name", ["all", "steep", "upper"])
def test_combs_are_mel_spectra_of_the_partials(name: str, key: int, mel_scale: str) -> None:
    """Of sines of known amplitudes, whatever the widths of the bands, within a decibel.

    Partials that share a band beat; where they do, the mean over time is compared.
    """
    config = TransferConfig(mel_scale=mel_scale)
    f0 = notes.key_frequencies()[key]
    ranks = np.arange(1, notes.N_PARTIALS + 1)
    ranks = ranks[ranks * f0 < 0.98 * SR / 2]
    t, rng = np.arange(2 * SR) / SR, np.random.default_rng(0)
    phases = rng.uniform(0, 2 * np.pi, len(ranks))
    amplitudes = {"all": ranks**0.0, "steep": ranks**-2.0, "upper": (ranks >= 6) * 1.0}[name]
    y = amplitudes @ np.sin(2 * np.pi * f0 * ranks[:, None] * t + phases[:, None])
    D = spectrogram.stft(y[None].astype(np.float32), config.n_fft, config.hop_length)
    filters = spectrogram.mel_filters(config)
    mel = (filters / filters.max(axis=1, keepdims=True)) @ spectrogram.channel_power(D)
    # A sine of amplitude 1 has a peak of n_fft / 4 under a Hann window.
    measured = mel[:, 5:-5].mean(axis=1) / (config.n_fft / 4) ** 2 / notes.LOBE_POWER
    combs = notes._combs(config.sr, config.n_fft, config.n_mels, config.mel_scale)
    comb = combs[name][:, key]
    centres = spectrogram.band_centres(config)
    heard = ranks[amplitudes > 0]
    strong = np.abs(centres[:, None] - heard * f0).argmin(axis=0)  # the bands of the partials
    difference = 10 * np.log10(comb[strong] / measured[strong])
    assert np.abs(difference).max() < 1.0
    first = np.abs(centres - f0).argmin()
    assert abs(int(combs["first"][:, key].argmax()) - first) <= 1
    whole = combs["all"][:, key]
    np.testing.assert_allclose(combs["wide"][:, key].sum(), whole.sum(), rtol=0.1)  # but the ends
    assert np.all(combs["odd"][:, key] <= whole)


def test_posteriors_are_aligned_to_the_frames_by_their_maxima() -> None:
    rng = np.random.default_rng(0)
    posteriors = rng.uniform(0, 1, (N_KEYS, 40)).astype(np.float32)
    same = align_posteriors(posteriors, 40, 0.01, 0.01)
    np.testing.assert_array_equal(same, posteriors)
    # Every second frame; an onset between two frames is not lost.
    half = align_posteriors(posteriors, 20, 0.01, 0.02)
    neighbours = np.pad(posteriors, ((0, 0), (1, 1)))
    expected = np.max([neighbours[:, i : i + 40] for i in range(3)], axis=0)[:, ::2]
    np.testing.assert_array_equal(half, expected)
    # Twice as many; beyond the end nothing sounds.
    double = align_posteriors(posteriors, 90, 0.01, 0.005)
    np.testing.assert_array_equal(double[:, :80:2], posteriors)
    assert not double[:, 82:].any()
