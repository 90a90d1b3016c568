"""Mixing with the content: the law of the mix, and no comb filter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.signal import welch

from audiostyle.audio.loudness import LoudnessMatchedStream
from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.mixing import mix_with_content
from audiostyle.core.transfer import StyleTransfer
from audiostyle.dsp.normalized_stream import NormalizedStream
from tests.conftest import SR, Array, make_noise, make_tiny_config, make_tones


def cut(y: Array, size: int) -> Iterator[Array]:
    for first in range(0, y.shape[1], size):
        yield y[:, first : first + size]


def mixed(content: Array, result: Array, mix: float, ceiling: float = 1.0) -> Array:
    stream = NormalizedStream(ArraySource(content, SR, "content"), TransferConfig())
    matched = LoudnessMatchedStream(lambda: cut(result, 1000), SR, 0.0, 0.0, 0.0)
    mixture = mix_with_content(matched, stream, mix, ceiling)
    y = np.concatenate(list(mixture.blocks()), axis=1)
    np.testing.assert_array_equal(np.concatenate(list(mixture.blocks()), axis=1), y)  # again
    return np.asarray(y)


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.5, 0.9])
def test_the_law_of_the_mix(mix: float) -> None:
    content = np.stack([make_tones(), make_noise(seed=1)])
    content -= content.mean(axis=1, keepdims=True)  # a transfer removes a DC offset
    result = np.stack([make_noise(), make_tones(base=330.0)])
    expected = (1 - mix) * content.astype(float) + mix * result
    np.testing.assert_allclose(mixed(content, result, mix), expected, atol=1e-6)
    # What did not change stays exactly as it is.
    np.testing.assert_array_equal(mixed(content, content, mix), content)


def test_a_content_above_full_scale_is_limited_unless_the_output_can_hold_it() -> None:
    content = (1.3 * make_tones() / np.abs(make_tones()).max())[None]
    result = make_noise()[None]
    expected = 0.8 * content + 0.2 * result
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(mixed(content, result, 0.2, np.inf), expected, atol=1e-6)
    y = mixed(content, result, 0.2)
    assert np.abs(y).max() <= 1 + 1e-6
    last = slice(3 * SR // 4, None)
    quiet = np.abs(expected[:, last]).max() < 0.9
    np.testing.assert_allclose(y[:, last], expected[:, last], atol=1e-6 if quiet else 0.4)


def band_amplitudes(y: Array) -> Array:
    """RMS amplitude in bands of a sixth of an octave [shape=(bands,)]."""
    frequencies, power = welch(y, SR, nperseg=4096)
    edges = 2.0 ** np.arange(6, np.log2(SR / 2), 1 / 6)
    index = np.searchsorted(edges, frequencies)
    sums = np.bincount(index, power, len(edges) + 1)[1:-1]
    return np.asarray(np.sqrt(sums))


def test_a_mix_has_no_notches() -> None:
    """In phase, amplitudes add: a comb, or another phase (-3 dB), would lower them."""
    config = dataclasses.replace(make_tiny_config(), mix=0.5, init="notes")
    content, style = make_noise(2.0, seed=3), make_tones(2.0)
    mixture = StyleTransfer(config).transfer(content, style, SR).y
    assert mixture is not None
    result = content + 2 * (mixture - content)  # what a mix of 1 is
    before, after, between = map(band_amplitudes, (content, result, mixture))
    assert np.abs(20 * np.log10(after / before)).max() > 3  # there is something to mix
    difference = 20 * np.log10(between / ((before + after) / 2))
    assert np.abs(difference).max() < 0.5
    correlation = np.correlate(mixture[:8000], content[:8000], "full")
    assert np.argmax(correlation) - 7999 == 0  # in samples


def test_no_style_mixed_in_is_the_content() -> None:
    config = dataclasses.replace(make_tiny_config(), strength=0.0, mix=0.5)
    result = StyleTransfer(config).transfer(make_tones(), make_noise(), SR)
    np.testing.assert_allclose(result.y, make_tones(), atol=1e-6)
