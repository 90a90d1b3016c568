"""Style metrics and the tagger, against closed forms and slow re-computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from audiostyle.evaluation import style_metrics, tagger

Array = npt.NDArray[Any]

SR = style_metrics.SAMPLE_RATE


def test_bures_distance_of_diagonal_gaussians_is_that_of_means_and_deviations() -> None:
    rng = np.random.default_rng(0)
    mean_a, mean_b = rng.standard_normal((2, 5))
    deviation_a, deviation_b = rng.uniform(0.1, 2.0, (2, 5))
    distance = style_metrics.bures_distance(
        mean_a, np.diag(deviation_a**2), mean_b, np.diag(deviation_b**2)
    )
    shift, spread = mean_a - mean_b, deviation_a - deviation_b
    assert distance == pytest.approx(np.sqrt(np.sum(shift**2) + np.sum(spread**2)))


def test_bures_distance_is_symmetric_and_zero_only_for_equals() -> None:
    rng = np.random.default_rng(3)
    a, b = (m @ m.T for m in rng.standard_normal((2, 6, 4)))  # of rank 4
    zero = np.zeros(6)
    assert style_metrics.bures_distance(zero, a, zero, a) == pytest.approx(0.0, abs=1e-6)
    forth, back = (
        style_metrics.bures_distance(zero, *pair, zero, other)
        for pair, other in (((a,), b), ((b,), a))
    )
    assert forth == pytest.approx(back)
    assert forth > 0.1


def test_texture_depends_on_modulation_but_not_on_level() -> None:
    rng = np.random.default_rng(4)
    t = np.arange(3 * SR) / SR
    noise = rng.standard_normal(t.size)
    steady = style_metrics.texture_statistics(noise)
    quieter = style_metrics.texture_statistics(0.01 * noise)
    tremolo = style_metrics.texture_statistics(noise * (1.0 + 0.9 * np.sin(2 * np.pi * 5.5 * t)))
    assert style_metrics.texture_distance(steady, quieter) < 1e-6
    assert style_metrics.texture_distance(steady, tremolo) > 0.3
    shares = tremolo["modulation"].reshape(style_metrics.N_BANDS, 6).mean(axis=0)
    assert shares.argmax() == 2  # 4 to 8 Hz
    assert tremolo["correlation"].mean() > 0.5 > steady["correlation"].mean()


def test_modulation_shares_are_those_of_a_sine() -> None:
    t = np.arange(1000) * style_metrics.TEXTURE_HOP / SR
    shares = style_metrics.modulation_shares(np.sin(2 * np.pi * 12.0 * t)[None, :])
    assert shares[0].argmax() == 3
    assert shares[0, 3] == pytest.approx(np.log10(1.0 + 10**-2.5), abs=1e-3)


def test_moving_average_against_a_loop() -> None:
    x = np.random.default_rng(5).standard_normal(20)
    held = np.pad(x, 10, mode="edge")
    expected = [held[i + 10 - 2 : i + 10 + 3].mean() for i in range(20)]
    np.testing.assert_allclose(style_metrics.moving_average(x, 5), expected)
    np.testing.assert_allclose(style_metrics.moving_average(np.ones((2, 9)), 4), np.ones((2, 9)))


def test_the_front_end_against_a_slow_computation() -> None:
    rng = np.random.default_rng(6)
    patch = rng.uniform(0.0, 3.0, (1, tagger.PATCH_FRAMES, tagger.N_MELS)).astype(np.float32)
    front = tagger.forward(patch)["front"][0]
    weights = {name: array.astype(np.float64) for name, array in tagger.load_weights().items()}
    x = np.pad(patch[0] * weights["norm0/scale"] + weights["norm0/shift"], ((3, 3), (0, 0)))
    kernel = weights["conv0/kernel"][:, :, 0]
    for frame in (0, 90, tagger.PATCH_FRAMES - 1):
        window = x[frame : frame + 7]
        columns = [window[:, k : k + 38] for k in range(tagger.N_MELS - 38 + 1)]
        response = np.einsum("ktf,tfc->kc", columns, kernel) + weights["conv0/bias"]
        rectified = np.maximum(response, 0.0) * weights["norm1/scale"] + weights["norm1/shift"]
        np.testing.assert_allclose(front[frame, :204], rectified.max(axis=0), atol=1e-3)


def test_patches_are_independent_and_tags_are_probabilities() -> None:
    rng = np.random.default_rng(7)
    patches = rng.uniform(0.0, 3.0, (2, tagger.PATCH_FRAMES, tagger.N_MELS))
    both, second = tagger.forward(patches), tagger.forward(patches[1:])
    np.testing.assert_allclose(both["pooled"][1], second["pooled"][0], atol=1e-4)
    assert both["tags"].shape == (2, 50)
    assert np.all((both["tags"] >= 0.0) & (both["tags"] <= 1.0))


@pytest.mark.parametrize("frames", [20, tagger.PATCH_FRAMES, 300])
def test_patches_cover_a_clip_to_its_end(frames: int) -> None:
    x = np.arange(frames, dtype=np.float32)[:, None] * np.ones((1, tagger.N_MELS), np.float32)
    patches = tagger.cut_patches(x)
    assert patches.shape[1:] == (tagger.PATCH_FRAMES, tagger.N_MELS)
    assert set(np.unique(patches)) == set(range(frames))
