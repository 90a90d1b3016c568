"""The scores of outputs whose scores are known: baselines, copies, noise."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from audiostyle.audio.level import to_mono
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.evaluation import baselines, scores, style_metrics
from tests.conftest import CHORDS, ORGAN, REED, make_chords

Array = npt.NDArray[Any]
Scores = dict[str, dict[str, float]]

SR = style_metrics.SAMPLE_RATE
CONTENT = make_chords(CHORDS, ORGAN, 0.5)


@pytest.fixture(scope="module")
def style() -> Array:
    """Tremolo noise over low notes: another timbre, texture, rhythm and key."""
    rng = np.random.default_rng(1)
    notes = make_chords([(42, 49), (46, 54), (44, 51), (42, 54)], REED, 0.75)
    t = np.arange(notes.size) / SR
    noise = np.convolve(rng.standard_normal(t.size), np.ones(4) / 4, "same")
    return (notes + 0.05 * noise * (1.0 + np.sin(2 * np.pi * 9.0 * t))).astype(np.float32)


@pytest.fixture(scope="module")
def evaluator(style: Array) -> scores.PairEvaluator:
    return scores.PairEvaluator(CONTENT, style, SR)


@pytest.fixture(scope="module")
def outputs(style: Array) -> dict[str, Array]:
    return scores.make_baselines(CONTENT, style, SR)


@pytest.fixture(scope="module")
def known(evaluator: scores.PairEvaluator, outputs: dict[str, Array]) -> Scores:
    return {name: evaluator.evaluate(y) for name, y in outputs.items()}


def test_identity_has_no_style_and_all_of_the_content(known: Scores) -> None:
    measures = known["identity"]
    for name, value in measures.items():
        expected = 1.0 if name.startswith("content") else 0.0
        if not name.startswith("sound"):
            assert value == pytest.approx(expected, abs=1e-6), name


def test_style_copy_has_all_of_the_style_and_is_detected(known: Scores) -> None:
    measures = known["style_copy"]
    assert measures["style"] == pytest.approx(1.0, abs=0.02)
    assert measures["content"] == pytest.approx(0.0, abs=0.05)
    assert measures["copying"] > 0.95
    assert measures["score"] < 0.05


def test_eq_match_copies_nothing_and_beats_the_ends(known: Scores) -> None:
    measures = known["eq_match"]
    assert measures["copying"] < 0.05
    assert measures["content"] > 0.6
    assert measures["style_mfcc"] > 0.1
    assert abs(measures["style_texture"]) < 0.25  # an equaliser changes no texture


def test_more_of_the_style_is_more_style_less_content_and_more_copying(
    evaluator: scores.PairEvaluator, style: Array
) -> None:
    shares = (0.2, 0.5, 0.8)
    rows = [
        evaluator.evaluate((1 - share) * CONTENT + share * style[: CONTENT.size])
        for share in shares
    ]
    for name, sign in (("style", 1), ("content", -1), ("copying", 1)):
        values = [sign * row[name] for row in rows]
        assert values == sorted(values), name
    assert 0.3 < rows[1]["copying"] < 0.7


def test_noise_scores_nothing(evaluator: scores.PairEvaluator) -> None:
    noise = np.random.default_rng(2).standard_normal(CONTENT.size)
    measures = evaluator.evaluate(noise.astype(np.float32))
    assert measures["content"] < 0.25
    assert measures["score"] < 0.2
    assert measures["copying"] < 0.1


def test_level_channels_and_length_do_not_matter(
    evaluator: scores.PairEvaluator, outputs: dict[str, Array], known: Scores
) -> None:
    y = outputs["eq_match"]
    for right in (y, -y):
        stereo = np.stack([y, right]) * np.float32(0.03)
        measures = evaluator.evaluate(np.pad(stereo, ((0, 0), (0, 3))))
        for name, value in known["eq_match"].items():
            if not name.startswith("sound"):
                assert measures[name] == pytest.approx(value, abs=0.02), name


def test_evaluate_gives_the_measures_of_the_pair_evaluator(
    style: Array, outputs: dict[str, Array], known: Scores
) -> None:
    assert scores.evaluate(CONTENT, style, outputs["mix"], SR) == pytest.approx(known["mix"])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(SR, np.float32), "silent"),
        (np.full(SR, np.nan, np.float32), "NaN"),
        (np.ones(SR // 4, np.float32), "at least 0.5 s"),
    ],
)
def test_unusable_clips_are_refused(y: Array, message: str) -> None:
    with pytest.raises(AudioFileError, match=f"output.*{message}"):
        style_metrics.prepare(y, SR, "output")
    with pytest.raises(ConfigError, match="must be positive"):
        style_metrics.prepare(CONTENT, 0, "output")


def test_rounding_errors_of_a_pair_without_a_gap_are_not_scores() -> None:
    assert scores.style_gap_closed(0.0, 0.0, 0.1) == 0.0
    assert scores.style_gap_closed(1.0, 0.99, 2.0) == pytest.approx(0.04)
    assert scores.style_gap_closed(1.0, 9.0, 0.2) == -1.0
    assert scores.content_kept(0.99, 0.999) == pytest.approx(0.9)


def test_joint_score_is_zero_for_trivial_outputs() -> None:
    assert scores.joint_score(0.0, 1.0, 0.0) == 0.0
    assert scores.joint_score(1.0, 0.0, 0.0) == 0.0
    assert scores.joint_score(-0.5, -0.5, 0.0) == 0.0
    assert scores.joint_score(0.64, 1.0, 0.5) == pytest.approx(0.4)


def test_sound_measures_find_clipping_level_and_noise() -> None:
    t = np.arange(SR) / SR
    tone = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    louder = np.clip(4.0 * tone, -1.0, 1.0)
    measures = scores.sound_measures(louder, tone, tone, SR)
    assert measures["sound_clipping"] > 0.5
    assert 6.0 < measures["sound_loudness"] < 12.1
    hiss = tone + (0.05 * np.sin(2 * np.pi * 9000 * t)).astype(np.float32)
    measures = scores.sound_measures(hiss, tone, tone, SR)
    assert measures["sound_clipping"] == 0.0
    assert measures["sound_added_noise"] > 20.0


def test_loudness_is_that_of_all_channels_at_the_same_time() -> None:
    rng = np.random.default_rng(14)
    stereo = 0.1 * rng.standard_normal((2, SR)).astype(np.float32)
    mono = to_mono(stereo)
    padded = np.pad(stereo, ((0, 0), (0, SR)))
    wide = stereo * np.array([[1.0], [-1.0]])  # as loud, although its mean is another
    for output, content in (
        (stereo, stereo),
        (mono, stereo),
        (stereo, mono),
        (padded, stereo),
        (wide, stereo),
    ):
        measures = scores.sound_measures(output, content, mono, SR)
        assert measures["sound_loudness"] == pytest.approx(0.0, abs=1e-4)
    measures = scores.sound_measures(0.5 * mono, stereo, mono, SR)
    assert measures["sound_loudness"] == pytest.approx(-6.02, abs=0.01)


def test_sound_after_the_end_of_the_content_does_not_count(
    evaluator: scores.PairEvaluator, outputs: dict[str, Array], known: Scores
) -> None:
    y = outputs["mix"]
    longer = np.concatenate([y, np.ones(SR, np.float32)])
    assert evaluator.evaluate(longer) == known["mix"]
    with pytest.raises(AudioFileError, match="silent"):
        evaluator.evaluate(np.concatenate([np.zeros_like(y), y]))


@pytest.mark.parametrize(
    "shift_s", [0.0, 1.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.31, 1.37))]
)
def test_the_style_shifted_in_time_is_a_copy(
    evaluator: scores.PairEvaluator, style: Array, shift_s: float
) -> None:
    shifted = np.roll(style, round(shift_s * SR))[: CONTENT.size]  # 1.5 s: second half first
    assert evaluator.evaluate(CONTENT + shifted)["copying"] > 0.2
    assert evaluator.evaluate(shifted)["copying"] > 0.7


def test_baselines_without_a_copy_have_no_copying(known: Scores) -> None:
    assert known["identity"]["copying"] == 0.0
    assert known["eq_match"]["copying"] < 0.02


def test_baselines_have_the_contents_length_and_level(
    outputs: dict[str, Array], style: Array
) -> None:
    assert list(outputs) == ["identity", "style_copy", "mix", "eq_match"]
    for y in outputs.values():
        assert y.shape == CONTENT.shape
        assert np.sqrt(np.mean(y**2)) == pytest.approx(np.sqrt(np.mean(CONTENT**2)), rel=1e-3)
    short = scores.make_baselines(CONTENT, style[: SR // 2], SR)["style_copy"]
    np.testing.assert_allclose(short[: SR // 2], short[SR // 2 : 2 * (SR // 2)], rtol=1e-4)


def test_eq_match_reaches_the_styles_third_octaves() -> None:
    rng = np.random.default_rng(12)
    white = rng.standard_normal(2 * SR).astype(np.float32)
    dark = np.convolve(rng.standard_normal(2 * SR), np.ones(6) / 6, "same").astype(np.float32)
    matched = baselines.match_third_octaves(white, dark, SR)

    def levels_db(y: Array) -> Array:
        power = np.abs(np.fft.rfft(y)) ** 2
        edges = (np.array([200, 400, 800, 1600]) * y.size / SR).astype(int)
        return np.array([10 * np.log10(power[a:b].sum()) for a, b in pairwise(edges)])

    np.testing.assert_allclose(levels_db(matched), levels_db(dark), atol=1.5)


def test_importing_the_evaluation_loads_neither_tensorflow_nor_librosa() -> None:
    code = (
        "import sys, audiostyle.evaluation.scores\n"
        "print(sorted({'tensorflow', 'librosa', 'mir_eval'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
