"""The ruler, against closed forms, a slow re-computation, and the outputs whose score is known."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import mir_eval
import numpy as np
import numpy.typing as npt
import pytest

from audiostyle import content_metrics, evaluation, metrics, tagger, trivial
from audiostyle.errors import AudioFileError, ConfigError

Array = npt.NDArray[Any]
Verdicts = dict[str, dict[str, float]]

SR = metrics.SAMPLE_RATE
ORGAN = (1.0, 0.6, 0.4, 0.3, 0.2, 0.1)
REED = (1.0, 0.05, 0.6, 0.05, 0.5, 0.05, 0.4)


def play(chords: list[tuple[int, ...]], partials: tuple[float, ...], note_s: float) -> Array:
    """Chords of MIDI notes, plucked, one after the other."""
    t = np.arange(round(note_s * SR)) / SR
    envelope = np.minimum(1.0, t / 0.005) * np.exp(-3.0 * t) * np.minimum(1.0, (note_s - t) / 0.01)
    blocks = []
    for chord in chords:
        block = np.zeros_like(t)
        for midi in chord:
            frequency = 440.0 * 2.0 ** ((midi - 69) / 12.0)
            for k, amplitude in enumerate(partials, 1):
                block += amplitude * np.sin(2 * np.pi * k * frequency * t + k)
        blocks.append(block * envelope)
    y = np.concatenate(blocks)
    return (0.1 * y / np.sqrt(np.mean(y**2))).astype(np.float32)


CHORDS = [(60, 64), (62, 67), (65, 69), (59, 67), (60, 72), (57, 64)]
CONTENT = play(CHORDS, ORGAN, 0.5)


@pytest.fixture(scope="module")
def style() -> Array:
    """Tremolo noise over low notes: another timbre, texture, rhythm and key."""
    rng = np.random.default_rng(1)
    notes = play([(42, 49), (46, 54), (44, 51), (42, 54)], REED, 0.75)
    t = np.arange(notes.size) / SR
    noise = np.convolve(rng.standard_normal(t.size), np.ones(4) / 4, "same")
    return (notes + 0.05 * noise * (1.0 + np.sin(2 * np.pi * 9.0 * t))).astype(np.float32)


@pytest.fixture(scope="module")
def judge(style: Array) -> evaluation.PairJudge:
    return evaluation.PairJudge(CONTENT, style, SR)


@pytest.fixture(scope="module")
def outputs(style: Array) -> dict[str, Array]:
    return evaluation.baselines(CONTENT, style, SR)


@pytest.fixture(scope="module")
def verdicts(judge: evaluation.PairJudge, outputs: dict[str, Array]) -> Verdicts:
    return {name: judge.evaluate(y) for name, y in outputs.items()}


# --- the ends of the scale ---------------------------------------------------------------------


def test_identity_has_no_style_and_all_of_the_content(verdicts: Verdicts) -> None:
    verdict = verdicts["identity"]
    for name, value in verdict.items():
        expected = 1.0 if name.startswith("content") else 0.0
        if not name.startswith("sound"):
            assert value == pytest.approx(expected, abs=1e-6), name


def test_style_copy_has_all_of_the_style_and_is_found_out(verdicts: Verdicts) -> None:
    verdict = verdicts["style_copy"]
    assert verdict["style"] == pytest.approx(1.0, abs=0.02)
    assert verdict["content"] == pytest.approx(0.0, abs=0.05)
    assert verdict["copying"] > 0.95
    assert verdict["score"] < 0.05


def test_eq_match_copies_nothing_and_beats_the_ends(verdicts: Verdicts) -> None:
    verdict = verdicts["eq_match"]
    assert verdict["copying"] < 0.05
    assert verdict["content"] > 0.6
    assert verdict["style_mfcc"] > 0.1
    assert abs(verdict["style_texture"]) < 0.25  # an equaliser changes no texture


def test_more_of_the_style_is_more_style_less_content_and_more_copying(
    judge: evaluation.PairJudge, style: Array
) -> None:
    shares = (0.2, 0.5, 0.8)
    rows = [
        judge.evaluate((1 - share) * CONTENT + share * style[: CONTENT.size]) for share in shares
    ]
    for name, sign in (("style", 1), ("content", -1), ("copying", 1)):
        values = [sign * row[name] for row in rows]
        assert values == sorted(values), name
    assert 0.3 < rows[1]["copying"] < 0.7


def test_noise_scores_nothing(judge: evaluation.PairJudge) -> None:
    noise = np.random.default_rng(2).standard_normal(CONTENT.size)
    verdict = judge.evaluate(noise.astype(np.float32))
    assert verdict["content"] < 0.25
    assert verdict["score"] < 0.2
    assert verdict["copying"] < 0.1


def test_level_channels_and_length_do_not_matter(
    judge: evaluation.PairJudge, outputs: dict[str, Array], verdicts: Verdicts
) -> None:
    y = outputs["eq_match"]
    stereo = np.stack([y, y]) * np.float32(0.03)
    longer = np.pad(stereo, ((0, 0), (0, 3)))
    verdict = judge.evaluate(longer)
    for name, value in verdicts["eq_match"].items():
        if not name.startswith("sound"):
            assert verdict[name] == pytest.approx(value, abs=0.02), name


def test_evaluate_many_shares_the_pair_and_changes_nothing(
    style: Array, outputs: dict[str, Array], verdicts: Verdicts
) -> None:
    many = evaluation.evaluate_many(CONTENT, style, {"mix": outputs["mix"]}, SR)
    assert many == {"mix": pytest.approx(verdicts["mix"])}


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(SR, np.float32), "silent"),
        (np.full(SR, np.nan, np.float32), "NaN"),
        (np.ones(SR // 4, np.float32), "at least 0.5 s"),
    ],
)
def test_what_cannot_be_judged_is_refused(y: Array, message: str) -> None:
    with pytest.raises(AudioFileError, match=f"output.*{message}"):
        metrics.prepare(y, SR, "output")
    with pytest.raises(ConfigError, match="must be positive"):
        metrics.prepare(CONTENT, 0, "output")


def test_a_pair_without_a_gap_does_not_turn_rounding_into_scores() -> None:
    assert evaluation.style_gap_closed(0.0, 0.0, 0.1) == 0.0
    assert evaluation.style_gap_closed(1.0, 0.99, 2.0) == pytest.approx(0.04)
    assert evaluation.style_gap_closed(1.0, 9.0, 0.2) == -1.0
    assert evaluation.content_kept(0.99, 0.999) == pytest.approx(0.9)


def test_joint_score_is_zero_at_every_trivial_end() -> None:
    assert evaluation.joint_score(0.0, 1.0, 0.0) == 0.0
    assert evaluation.joint_score(1.0, 0.0, 0.0) == 0.0
    assert evaluation.joint_score(-0.5, -0.5, 0.0) == 0.0
    assert evaluation.joint_score(0.64, 1.0, 0.5) == pytest.approx(0.4)


def test_sound_measures_find_clipping_level_and_noise() -> None:
    t = np.arange(SR) / SR
    tone = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    louder = np.clip(4.0 * tone, -1.0, 1.0)
    measures = evaluation.sound_measures(louder, tone, tone, SR)
    assert measures["sound_clipping"] > 0.5
    assert 6.0 < measures["sound_loudness"] < 12.1
    hiss = tone + (0.05 * np.sin(2 * np.pi * 9000 * t)).astype(np.float32)
    measures = evaluation.sound_measures(hiss, tone, tone, SR)
    assert measures["sound_clipping"] == 0.0
    assert measures["sound_added_noise"] > 20.0


def test_loudness_is_that_of_all_channels_at_the_same_time() -> None:
    rng = np.random.default_rng(14)
    stereo = 0.1 * rng.standard_normal((2, SR)).astype(np.float32)
    mono = trivial.to_mono(stereo)
    padded = np.pad(stereo, ((0, 0), (0, SR)))
    wide = stereo * np.array([[1.0], [-1.0]])  # as loud, although its mean is another
    for output, content in (
        (stereo, stereo),
        (mono, stereo),
        (stereo, mono),
        (padded, stereo),
        (wide, stereo),
    ):
        measures = evaluation.sound_measures(output, content, mono, SR)
        assert measures["sound_loudness"] == pytest.approx(0.0, abs=1e-4)
    measures = evaluation.sound_measures(0.5 * mono, stereo, mono, SR)
    assert measures["sound_loudness"] == pytest.approx(-6.02, abs=0.01)


def test_what_follows_the_contents_end_does_not_count(
    judge: evaluation.PairJudge, outputs: dict[str, Array], verdicts: Verdicts
) -> None:
    y = outputs["mix"]
    longer = np.concatenate([y, np.ones(SR, np.float32)])
    assert judge.evaluate(longer) == verdicts["mix"]
    with pytest.raises(AudioFileError, match="silent"):
        judge.evaluate(np.concatenate([np.zeros_like(y), y]))


# --- distances of style ------------------------------------------------------------------------


def test_bures_distance_of_diagonal_gaussians_is_that_of_means_and_deviations() -> None:
    rng = np.random.default_rng(0)
    mean_a, mean_b = rng.standard_normal((2, 5))
    deviation_a, deviation_b = rng.uniform(0.1, 2.0, (2, 5))
    distance = metrics.bures_distance(
        mean_a, np.diag(deviation_a**2), mean_b, np.diag(deviation_b**2)
    )
    shift, spread = mean_a - mean_b, deviation_a - deviation_b
    assert distance == pytest.approx(np.sqrt(np.sum(shift**2) + np.sum(spread**2)))


def test_bures_distance_is_symmetric_and_zero_only_for_equals() -> None:
    rng = np.random.default_rng(3)
    a, b = (m @ m.T for m in rng.standard_normal((2, 6, 4)))  # of rank 4
    zero = np.zeros(6)
    assert metrics.bures_distance(zero, a, zero, a) == pytest.approx(0.0, abs=1e-6)
    forth, back = (
        metrics.bures_distance(zero, *pair, zero, other) for pair, other in (((a,), b), ((b,), a))
    )
    assert forth == pytest.approx(back)
    assert forth > 0.1


def test_texture_does_not_hear_level_and_hears_modulation() -> None:
    rng = np.random.default_rng(4)
    t = np.arange(3 * SR) / SR
    noise = rng.standard_normal(t.size)
    steady = metrics.texture_statistics(noise)
    quieter = metrics.texture_statistics(0.01 * noise)
    tremolo = metrics.texture_statistics(noise * (1.0 + 0.9 * np.sin(2 * np.pi * 5.5 * t)))
    assert metrics.texture_distance(steady, quieter) < 1e-6
    assert metrics.texture_distance(steady, tremolo) > 0.3
    shares = tremolo["modulation"].reshape(metrics.N_BANDS, 6).mean(axis=0)
    assert shares.argmax() == 2  # 4 to 8 Hz
    assert tremolo["correlation"].mean() > 0.5 > steady["correlation"].mean()


def test_modulation_shares_are_those_of_a_sine() -> None:
    t = np.arange(1000) * metrics.TEXTURE_HOP / SR
    shares = metrics.modulation_shares(np.sin(2 * np.pi * 12.0 * t)[None, :])
    assert shares[0].argmax() == 3
    assert shares[0, 3] == pytest.approx(np.log10(1.0 + 10**-2.5), abs=1e-3)


def test_moving_average_against_a_loop() -> None:
    x = np.random.default_rng(5).standard_normal(20)
    held = np.pad(x, 10, mode="edge")
    expected = [held[i + 10 - 2 : i + 10 + 3].mean() for i in range(20)]
    np.testing.assert_allclose(metrics.moving_average(x, 5), expected)
    np.testing.assert_allclose(metrics.moving_average(np.ones((2, 9)), 4), np.ones((2, 9)))


# --- the network -------------------------------------------------------------------------------


def test_the_front_end_is_that_of_a_slow_recomputation() -> None:
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


def test_patches_are_judged_independently_and_tags_are_probabilities() -> None:
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


# --- similarity of content ---------------------------------------------------------------------


@pytest.mark.parametrize("partials", [ORGAN, REED])
def test_notes_are_found_in_any_timbre(partials: tuple[float, ...]) -> None:
    y = metrics.prepare(play(CHORDS, partials, 0.5), SR)
    notes = content_metrics.note_frames(content_metrics.constant_q(y))
    truth = np.zeros_like(notes)
    for frame in range(notes.shape[1]):
        index = min(len(CHORDS) - 1, int(frame * metrics.HOP_LENGTH / (0.5 * SR)))
        truth[[midi - 36 for midi in CHORDS[index]], frame] = True
    assert content_metrics.note_f_measure(truth, notes) > 0.75


def test_onset_f_measure_is_that_of_mir_eval() -> None:
    rng = np.random.default_rng(8)
    reference = np.sort(rng.uniform(0.0, 10.0, 20))
    estimate = np.sort(reference[:15] + rng.normal(0.0, 0.04, 15))
    expected = mir_eval.onset.f_measure(reference, estimate, window=0.05)[0]
    assert content_metrics.onset_f_measure(reference, estimate) == expected
    assert 0.0 < expected < 1.0
    nothing = np.zeros(0)
    assert content_metrics.onset_f_measure(nothing, nothing) == 1.0
    assert content_metrics.onset_f_measure(reference, nothing) == 0.0


def test_a_missing_mir_eval_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    with pytest.raises(ImportError, match=r"pip install 'audiostyle\[evaluate\]'"):
        content_metrics.onset_f_measure(np.ones(1), np.ones(1))


def test_chroma_and_envelope_at_their_ends() -> None:
    frames = np.eye(12)[:, [0, 4, 7]]
    assert content_metrics.chroma_similarity(frames, frames) == 1.0
    assert content_metrics.chroma_similarity(frames, np.roll(frames, 1, axis=0)) == 0.0
    ramp = np.arange(10.0)
    assert content_metrics.envelope_correlation(ramp, -3 * ramp + 1) == pytest.approx(-1.0)
    assert content_metrics.envelope_correlation(ramp, np.ones(10)) == 0.0


# --- copying -----------------------------------------------------------------------------------


def test_a_copied_piece_is_found_wherever_it_was() -> None:
    rng = np.random.default_rng(9)
    source = rng.standard_normal(3 * SR)
    y = np.concatenate([-0.3 * source[12_345 : 12_345 + SR], rng.standard_normal(SR), np.zeros(SR)])
    match = content_metrics.waveform_match(y, source)
    assert match[:3] == pytest.approx(1.0)
    assert np.all(match[4:7] < 0.01)
    assert np.isnan(match[-1])


def test_a_match_is_that_of_a_slow_search_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content_metrics, "COPY_BLOCK", 1 << 14)
    rng = np.random.default_rng(13)
    length = int(content_metrics.COPY_WINDOW_S * SR)
    source = rng.standard_normal(3 * length) * np.linspace(0.1, 1.0, 3 * length)
    # The piece lies across the edge of two blocks.
    y = source[3_000 : 3_000 + length] + 0.7 * rng.standard_normal(length)
    correlation = np.correlate(source, y, "valid")
    norms = np.convolve(source**2, np.ones(length), "valid")
    expected = np.max(correlation**2 / norms) / (y @ y)
    assert content_metrics.waveform_match(y, source) == pytest.approx(expected)


@pytest.mark.parametrize("shift_s", [0.0, 0.31, 1.37, 1.5])
def test_the_style_at_another_time_is_a_copy_too(
    judge: evaluation.PairJudge, style: Array, shift_s: float
) -> None:
    shifted = np.roll(style, round(shift_s * SR))[: CONTENT.size]  # 1.5 s: second half first
    assert judge.evaluate(CONTENT + shifted)["copying"] > 0.2
    assert judge.evaluate(shifted)["copying"] > 0.7


def test_what_is_no_copy_shows_none(verdicts: Verdicts) -> None:
    assert verdicts["identity"]["copying"] == 0.0
    assert verdicts["eq_match"]["copying"] < 0.02


def test_half_of_a_piece_is_half_copied() -> None:
    rng = np.random.default_rng(10)
    source, other = rng.standard_normal((2, 2 * SR))
    match = content_metrics.waveform_match(source + other, source)
    unrelated = content_metrics.waveform_match(other, source)
    assert match == pytest.approx(0.5, abs=0.03)
    assert content_metrics.waveform_copying(match, unrelated) == pytest.approx(0.5, abs=0.03)


def test_copied_notes_are_those_of_the_style_that_the_content_has_not() -> None:
    rng = np.random.default_rng(11)
    content, style, other = rng.random((3, content_metrics.N_NOTES, 200)) < 0.05
    assert content_metrics.note_copying(content, content, style) == 0.0
    assert content_metrics.note_copying(style, content, style) == 1.0
    assert content_metrics.note_copying(other, content, style) < 0.1
    assert 0.3 < content_metrics.note_copying(content | style, content, style) < 0.7


def test_baselines_have_the_contents_length_and_level(
    outputs: dict[str, Array], style: Array
) -> None:
    assert list(outputs) == ["identity", "style_copy", "mix", "eq_match"]
    for y in outputs.values():
        assert y.shape == CONTENT.shape
        assert np.sqrt(np.mean(y**2)) == pytest.approx(np.sqrt(np.mean(CONTENT**2)), rel=1e-3)
    short = evaluation.baselines(CONTENT, style[: SR // 2], SR)["style_copy"]
    np.testing.assert_allclose(short[: SR // 2], short[SR // 2 : 2 * (SR // 2)], rtol=1e-4)


def test_eq_match_reaches_the_styles_third_octaves() -> None:
    rng = np.random.default_rng(12)
    white = rng.standard_normal(2 * SR).astype(np.float32)
    dark = np.convolve(rng.standard_normal(2 * SR), np.ones(6) / 6, "same").astype(np.float32)
    matched = trivial.match_third_octaves(white, dark, SR)

    def levels_db(y: Array) -> Array:
        power = np.abs(np.fft.rfft(y)) ** 2
        edges = (np.array([200, 400, 800, 1600]) * y.size / SR).astype(int)
        return np.array([10 * np.log10(power[a:b].sum()) for a, b in pairwise(edges)])

    np.testing.assert_allclose(levels_db(matched), levels_db(dark), atol=1.5)


def test_importing_the_evaluation_loads_neither_tensorflow_nor_librosa() -> None:
    code = (
        "import sys, audiostyle.evaluation\n"
        "print(sorted({'tensorflow', 'librosa', 'mir_eval'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_the_bench_never_tunes_on_what_it_holds_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
    import pairs

    for genre in ("blues", "jazz", "rock"):
        (tmp_path / genre).mkdir()
        for number in range(4):
            (tmp_path / genre / f"{genre}.{number:05d}.wav").touch()
    clips = pairs.list_clips(tmp_path)
    chosen = {
        which: {
            clip for pair in pairs.choose_pairs(clips, which) for clip in (pair.content, pair.style)
        }
        for which in ("held-out", "tune")
    }
    assert not chosen["held-out"] & chosen["tune"]
    every = pairs.choose_pairs(clips, "all")
    assert len(every) == 3 * 2 * 4 * 4
    assert len(pairs.spread(every, 5)) == 5
