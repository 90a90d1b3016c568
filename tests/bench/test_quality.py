from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from audiostyle.audio import level as audio_level
from audiostyle.errors import ConfigError
from bench.quality import __main__ as quality
from bench.quality import recordings, runs, synthesizer, synthetic, tables
from bench.quality.phrases import Note
from bench.quality.runs import Row
from bench.quality.timbres import TIMBRES

Array = npt.NDArray[Any]

SR = 22050
APART = [Note(0.3 + 1.5 * i, 0.5, pitch, 0.9) for i, pitch in enumerate((60, 67, 76))]


@pytest.fixture(scope="module")
def clips() -> dict[str, Array]:
    return {name: synthesizer.synthesize(APART, name, SR, seed=1) for name in TIMBRES}


# --- the synthesiser ---------------------------------------------------------------------------


@pytest.mark.parametrize("timbre", TIMBRES)
@pytest.mark.parametrize("pitch", [57, 81])
def test_a_note_has_its_fundamental_frequency(timbre: str, pitch: int) -> None:
    y = synthesizer.play(Note(0.0, 2.0, pitch, 0.8), TIMBRES[timbre], SR, np.random.default_rng(0))
    size = 1 << 19
    power = np.abs(np.fft.rfft(y * np.hanning(y.size), size)) ** 2
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SR), 1.0)
    cents = 1200 * np.log2(frequencies / (440.0 * 2.0 ** ((pitch - 69) / 12)))
    # Vibrato and unison spread the peak: its centre of gravity is the pitch.
    near = np.abs(cents) < 60
    assert power[near].sum() > 1e-3 * power.sum()
    assert abs(np.average(cents[near], weights=power[near])) < 6


@pytest.mark.parametrize("timbre", TIMBRES)
def test_all_power_is_at_the_partials_and_none_is_aliased(timbre: str) -> None:
    instrument = replace(
        TIMBRES[timbre],
        **{"breath_db": -200.0, "knock_db": -200.0, "players": 1, "spread_cents": 0.0},
        **{"vibrato_cents": 0.0, "tremolo_db": 0.0},
    )
    sr, pitch = 16_000, 93
    y = synthesizer.play(Note(0.0, 1.0, pitch, 0.9), instrument, sr, np.random.default_rng(0))
    _, frequencies, _ = synthesizer.partials(1760.0, instrument, sr)
    assert frequencies.max() < sr / 2
    power = np.abs(np.fft.rfft(y * np.hanning(y.size))) ** 2
    bins = np.fft.rfftfreq(y.size, 1 / sr)
    elsewhere = np.abs(bins[:, None] - frequencies).min(axis=1) > 150
    assert power[elsewhere].sum() < 1e-5 * power.sum()


def test_vibrato_and_unison_stay_below_nyquist() -> None:
    for timbre in TIMBRES.values():
        for pitch in range(36, 109, 6):
            _, frequencies, _ = synthesizer.partials(440.0 * 2.0 ** ((pitch - 69) / 12), timbre, SR)
            widest = 2.0 ** ((timbre.vibrato_cents + timbre.spread_cents) / 1200)
            assert frequencies.max(initial=0.0) * widest < SR / 2


def test_notes_start_at_the_same_times_in_every_timbre(
    clips: dict[str, Array],
) -> None:
    assert len({y.size for y in clips.values()}) == 1
    step = SR // 200
    for name, y in clips.items():
        level = np.array([np.sqrt(np.mean(y[i : i + step] ** 2)) for i in range(0, y.size, step)])
        db = 20 * np.log10(level / level.max() + 1e-9)
        assert db[:58].max() < -45, name  # until 10 ms before the first note
        for note in APART:
            first = round(note.start * 200)
            quiet, loud = db[first - 10 : first - 2], db[first : first + 16]
            assert quiet.max() < -30 < loud.max() - 10, name


def test_notes_start_and_end_without_a_click() -> None:
    for timbre in TIMBRES.values():
        y = synthesizer.play(Note(0.0, 0.3, 70, 1.0), timbre, SR, np.random.default_rng(0))
        assert abs(y[0]) < 1e-9
        assert abs(y[-1]) < 1e-9
        assert np.abs(y[-10:]).max() < 0.02 * np.abs(y).max()


def test_renderings_are_deterministic_and_normalized(
    clips: dict[str, Array],
) -> None:
    for name, y in clips.items():
        assert y.dtype == np.float32
        assert np.abs(y).max() < 1.0
        assert audio_level.active_level(y[None], SR) == pytest.approx(-20.0, abs=0.01), name
    again = synthesizer.synthesize(APART, "flute", SR, seed=1)
    np.testing.assert_array_equal(again, clips["flute"])
    assert not np.array_equal(synthesizer.synthesize(APART, "flute", SR, seed=2), again)


@pytest.mark.slow
def test_timbres_differ_more_than_takes(clips: dict[str, Array]) -> None:
    powers = {name: synthetic.mel_power(y, SR) for name, y in clips.items()}
    for name in TIMBRES:
        take = synthetic.mel_power(synthesizer.synthesize(APART, name, SR, seed=2), SR)
        distances = {other: synthetic.lsd(take, power) for other, power in powers.items()}
        own = distances.pop(name)
        assert 1.5 * own < min(distances.values()), (name, own, distances)


def test_resonances_do_not_move_with_the_pitch() -> None:
    at = np.array([720.0, 1440.0])
    gains = synthesizer.resonance_db(at, ((720.0, 18.0, 0.35),))
    assert gains[0] == pytest.approx(18.0)
    assert gains[1] == pytest.approx(18.0 * np.exp(-0.5 / 0.35**2))
    for f0 in (180.0, 240.0, 360.0):  # all have a partial at the formant
        _, frequencies, amplitudes = synthesizer.partials(f0, TIMBRES["voice"], SR)
        formants = frequencies[amplitudes.argsort()[-3:]]
        assert np.abs(formants - 720.0).min() < 1e-6


# --- pairs -------------------------------------------------------------------------------------


def test_each_half_has_24_pairs_of_all_timbres_and_the_halves_are_disjoint() -> None:
    halves = {which: synthetic.choose_synthetic(which) for which in ("tune", "held-out")}
    for which, half in halves.items():
        assert len(half) >= 24
        assert {pair.content for pair in half} == {pair.style for pair in half} == set(TIMBRES)
        assert all(pair.content != pair.style for pair in half)
        assert {pair.number % 2 for pair in half} == {which == "held-out"}
    combinations = [{(p.content, p.style) for p in half} for half in halves.values()]
    assert not combinations[0] & combinations[1]
    everything = synthetic.choose_synthetic("all")
    assert len({pair.number for pair in everything}) == sum(map(len, halves.values()))


def test_phrases_of_a_pair_differ_and_have_the_required_length() -> None:
    seen = set()
    for pair in synthetic.choose_synthetic("all"):
        content, style = pair.phrases()
        for notes in (content, style):
            assert 6.0 <= max(n.start + n.duration for n in notes) + synthesizer.TAIL_S <= 8.0
            assert len(notes) >= 5
            assert all(n.duration > 0 and 40 <= n.pitch <= 96 for n in notes)
        assert content != style
        seen.add(tuple(content))
        seen.add(tuple(style))
        assert pair.phrases() == (content, style)
    assert len(seen) == 2 * len(synthetic.choose_synthetic("all"))


def test_the_target_has_the_contents_notes_and_the_styles_timbre(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[list[Note], str, int]] = []

    def record(notes: list[Note], timbre: str, sr: int, seed: int) -> Array:
        calls.append((notes, timbre, seed))
        return np.zeros(1, np.float32)

    monkeypatch.setattr(synthetic, "synthesize", record)
    synthetic.SyntheticPair(4, "oboe", "piano").clips(SR)
    content, style, target = calls
    assert target[0] == content[0] != style[0]
    assert content[1] == "oboe"
    assert style[1] == target[1] == "piano"
    assert len({call[2] for call in calls}) == 3


def test_no_held_out_clip_is_used_for_tuning(tmp_path: Path) -> None:
    for genre in ("blues", "jazz", "rock"):
        (tmp_path / genre).mkdir()
        for number in range(4):
            (tmp_path / genre / f"{genre}.{number:05d}.wav").touch()
    clips = recordings.list_clips(tmp_path)
    chosen = {
        which: {
            clip
            for pair in recordings.choose_pairs(clips, which)
            for clip in (pair.content, pair.style)
        }
        for which in ("held-out", "tune")
    }
    assert not chosen["held-out"] & chosen["tune"]
    every = recordings.choose_pairs(clips, "all")
    assert len(every) == 3 * 2 * 4 * 4
    assert len(runs.limit_pairs(every, 5)) == 5


# --- distances ---------------------------------------------------------------------------------


def test_distances_of_constant_spectra_have_a_closed_form() -> None:
    flat = np.ones((8, 5))
    boosted = flat * np.where(np.arange(8) < 4, 1.0, 4.0)[:, None]
    six = 10 * np.log10(4.0)
    assert synthetic.lsd(flat, flat) == synthetic.lsd_frames(flat, flat) == 0.0
    assert synthetic.lsd(boosted, flat) == pytest.approx(six / 2)
    assert synthetic.lsd_frames(boosted, flat) == pytest.approx(six * np.sqrt(0.5))
    # One frame of four is 6 dB louder: one mean square is over time, the other over bands.
    burst = np.ones((8, 4)) * np.array([4.0, 1.0, 1.0, 1.0])
    assert synthetic.lsd(burst, np.ones((8, 4))) == pytest.approx(six / 2)
    assert synthetic.lsd_frames(burst, np.ones((8, 4))) == pytest.approx(six / 4)


def test_a_shelving_filter_on_noise_has_the_distance_left_after_level_matching() -> None:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(6 * 16_000))
    frequencies = np.fft.rfftfreq(6 * 16_000, 1 / 16_000)
    # The bands above the edge, of 128 Slaney bands up to 8 kHz, and their share of the power.
    boosted = np.fft.irfft(spectrum * np.where(frequencies < 2000, 1.0, 2.0))
    distance = synthetic.lsd(
        synthetic.mel_power(boosted.astype(np.float32), 16_000),
        synthetic.mel_power(np.fft.irfft(spectrum).astype(np.float32), 16_000),
    )
    import librosa

    above = np.mean(librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1] > 2000)
    matched = 10 * np.log10((2000 + 4 * 6000) / 8000)  # gain of the whole, taken off again
    expected = (1 - above) * matched + above * (10 * np.log10(4.0) - matched)
    assert distance == pytest.approx(expected, abs=0.1)


def test_near_silence_does_not_count_in_the_frame_wise_distance() -> None:
    target = np.array([[1.0, 1.0], [1e-9, 1e-9]])
    deeper = np.array([[1.0, 1.0], [1e-7, 1e-12]])
    assert synthetic.lsd_frames(deeper, target) == 0.0
    assert synthetic.lsd(deeper, target) > 1.0


def test_reduction_is_0_for_the_content_and_1_for_the_target(
    clips: dict[str, Array],
) -> None:
    content, target = clips["pluck"], clips["voice"]
    evaluator = synthetic.TargetEvaluator(content, target, SR)
    for y, expected in ((content, 0.0), (target, 1.0)):
        measures = evaluator.evaluate(y)
        assert measures["lsd_reduction"] == measures["lsd_frames_reduction"] == expected
    assert evaluator.evaluate(target)["lsd"] == 0.0
    louder = evaluator.evaluate(4 * target)
    assert louder["lsd_reduction"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_the_inversion_of_the_target_is_close_to_it() -> None:
    notes = [Note(0.1, 0.5, 64, 0.9), Note(0.7, 0.5, 69, 0.9)]
    content, target = (
        synthesizer.synthesize(notes, timbre, SR) for timbre in ("flute", "clarinet")
    )
    y, _ = synthetic.invert_target(content, target, target, SR)
    assert y.shape == target.shape
    assert synthetic.TargetEvaluator(content, target, SR).evaluate(y)["lsd_reduction"] > 0.5


# --- tables ------------------------------------------------------------------------------------


def make_row(strength: float | None, config: str = "fast", **measures: float) -> Row:
    pair = synthetic.SyntheticPair(0, "oboe", "piano")
    return Row(pair, config, measures, strength, main=strength in (None, 1.0))


def test_a_monotone_curve_has_no_violation_and_others_name_the_step() -> None:
    strengths = (0.0, 0.25, 0.5)
    assert tables.strength_violations(strengths, (0.0, 0.3, 0.3), (1.0, 0.9, 0.92)) == []
    violations = tables.strength_violations(strengths, (0.0, 0.3, 0.299), (0.8, 0.84, 0.5))
    assert violations == [
        "content rises by 0.040 from 0 to 0.25",
        "style falls by 0.001 from 0.25 to 0.5",
    ]


def test_the_strength_table_checks_means_over_pairs() -> None:
    table = [(0.0, 0.0, 1.0), (0.0, 0.2, 1.0), (1.0, 0.5, 0.5), (1.0, 0.1, 0.6)]
    rows = [make_row(s, style=style, content=content) for s, style, content in table]
    text = tables.strength_table(rows, (0.0, 1.0), ("style", "content"))
    assert "| fast | 0 | 0.100 | 1.000 |" in text
    assert "| fast | 1 | 0.300 | 0.550 |" in text
    assert "- fast: monotone" in text
    falling = [replace(r, strength=1.0 - r.strength) for r in rows if r.strength is not None]
    findings = tables.strength_table(falling, (0.0, 1.0), ("style", "content"))
    assert (
        "- fast: style falls by 0.200 from 0 to 1; content rises by 0.450 from 0 to 1" in findings
    )


def test_the_table_of_means_leaves_out_the_curve_and_missing_measures() -> None:
    rows = [
        make_row(None, "identity", x=0.0, convergence=float("nan")),
        make_row(0.5, x=9.0, convergence=-3.0),
        make_row(1.0, x=0.5, convergence=-12.0),
    ]
    text = tables.mean_table(rows, ("x", "convergence"), {"won": lambda r: r.measures["x"] > 0.4})
    assert "| identity | 0.00 [0.00, 0.00] |  |  |" in text
    assert "| fast | 0.50 [0.50, 0.50] | -12.0 [-12.0, -12.0] | 1/1 |" in text


def test_excerpts_of_the_same_clips_are_different_pairs() -> None:
    first, second = (
        recordings.RecordingPair("a/a.0.wav", "b/b.0.wav", start, 0.0) for start in (0.0, 9.0)
    )
    rows = [Row(first, "mix", {"score": 0.3}), Row(second, "mix", {"score": 0.6})]
    assert tables.best_baseline(rows, "score") == {first: 0.3, second: 0.6}


def test_a_strength_curve_holds_the_own_strength_once() -> None:
    entries = runs.list_entries(["fast", "fast:strength=.6"], strengths=True)
    own = [(e.config.strength, e.main) for e in entries if e.name == "fast"]
    assert own == [(0.0, False), (0.25, False), (0.5, False), (0.75, False), (1.0, True)]
    assert [e.config.strength for e in entries if e.main] == [1.0, 0.6]
    assert len(runs.list_entries(["fast"], strengths=False)) == 1
    with pytest.raises(ConfigError, match="name=value"):
        runs.list_entries(["fast:bands"], strengths=False)


# --- the command -------------------------------------------------------------------------------


def test_the_command_writes_the_synthetic_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unchanged(content: Array, *_: Any) -> tuple[Array, dict[str, float]]:
        return content, {"convergence": -12.0, "seconds": 1.0}

    monkeypatch.setattr(synthetic, "run_transfer", unchanged)
    arguments = ["--synthetic", "tune", "--limit", "1", "--config", "fast", "-o", str(tmp_path)]
    assert quality.main(arguments) == 0
    with (tmp_path / "synthetic.csv").open(newline="") as file:
        rows = {row["config"]: row for row in csv.DictReader(file)}
    bounds = [synthetic.SECOND_TAKE, synthetic.TARGET_INVERSION]
    assert list(rows) == [*tables.BASELINES, *bounds, "fast"]
    for name in ("identity", "fast"):
        assert float(rows[name]["lsd_reduction"]) == 0.0
        assert float(rows[name]["lsd_frames_reduction"]) == 0.0
    assert rows["identity"]["convergence"] == ""
    assert rows["fast"]["strength"] == "1"
    assert float(rows[synthetic.TARGET_INVERSION]["lsd_reduction"]) > 0.5
    text = (tmp_path / "quality.md").read_text()
    assert text == capsys.readouterr().out
    assert "## Synthetic pairs" in text
    assert "0/1 | 0/1 |" in text  # neither improved nor won
    assert not (tmp_path / "quality.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure"),
        (["--synthetic", "tune", "--strengths"], "--config"),
        (["--synthetic", "tune", "--limit", "0"], "at least 1"),
        (["nowhere"], "not a folder"),
    ],
)
def test_usage_errors_name_the_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        quality.main(arguments)
    assert message in capsys.readouterr().err
