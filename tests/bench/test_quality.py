from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from audiostyle.audio import level as audio_level
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, ConfigError
from bench.quality import __main__ as quality
from bench.quality import (
    known_answers,
    recordings,
    runs,
    sampled,
    summary,
    synthesizer,
    synthetic,
    tables,
    target_metrics,
)
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
    powers = {name: target_metrics.mel_power(y, SR) for name, y in clips.items()}
    for name in TIMBRES:
        take = target_metrics.mel_power(synthesizer.synthesize(APART, name, SR, seed=2), SR)
        distances = {other: target_metrics.lsd(take, power) for other, power in powers.items()}
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


def test_each_half_has_24_synthetic_pairs_of_all_timbres() -> None:
    for which in known_answers.HALVES:
        half = synthetic.choose_synthetic(which)
        assert len(half) == 24
        assert {pair.content for pair in half} == {pair.style for pair in half} == set(TIMBRES)


def test_each_half_has_24_sampled_pairs_of_three_textures() -> None:
    for which in known_answers.HALVES:
        half = sampled.choose_sampled(which)
        assert [sum(pair.voices == n for pair in half) for n in (1, 2, 3)] == [8, 8, 8]
        assert len({name for pair in half for name in (pair.content, pair.style)}) >= 12
        for pair in half:
            if pair.voices > 1:
                assert sampled.INSTRUMENTS[pair.content].chords
                assert sampled.INSTRUMENTS[pair.style].chords


@pytest.mark.parametrize("kind", ["synthetic", "sampled"])
def test_the_halves_share_no_pair_and_no_phrase(kind: str) -> None:
    halves = [known_answers.choose_known(kind, which) for which in known_answers.HALVES]
    combinations = [{(pair.content, pair.style) for pair in half} for half in halves]
    assert not combinations[0] & combinations[1]
    everything = known_answers.choose_known(kind, "all")
    assert len({pair.number for pair in everything}) == len(everything) == 48
    assert all(pair.content != pair.style for pair in everything)
    phrases = {tuple(notes) for pair in everything for notes in pair.phrases()}
    assert len(phrases) == 2 * 48


@pytest.mark.parametrize("kind", ["synthetic", "sampled"])
def test_phrases_last_six_to_eight_seconds(kind: str) -> None:
    for pair in known_answers.choose_known(kind, "all"):
        for notes in pair.phrases():
            assert 6.0 <= max(n.start + n.duration for n in notes) + synthesizer.TAIL_S <= 8.0
            assert len(notes) >= 4
            assert all(n.duration > 0 and 40 <= n.pitch <= 100 for n in notes)


@pytest.mark.parametrize(
    ("module", "pair"),
    [
        (synthetic, synthetic.SyntheticPair(4, "oboe", "piano")),
        (sampled, sampled.SampledPair(4, "oboe", "piano", 1)),
    ],
)
def test_the_target_has_the_contents_notes_and_the_styles_timbre(
    monkeypatch: pytest.MonkeyPatch, module: Any, pair: Any
) -> None:
    calls: list[tuple[list[Note], str, int]] = []

    def record(notes: list[Note], timbre: str, sr: int, seed: int, **_: Any) -> Array:
        calls.append((notes, timbre, seed))
        return np.zeros(1, np.float32)

    monkeypatch.setattr(module, "synthesize" if module is synthetic else "play", record)
    pair.render(SR)
    content, style, target, take = calls
    assert target[0] == content[0] != style[0]
    assert content[1] == "oboe"
    assert style[1] == target[1] == take[1] == "piano"
    assert len({call[2] for call in calls}) == 4
    assert [note.pitch for note in take[0]] == [note.pitch for note in target[0]]
    for played, again in zip(target[0], take[0], strict=True):
        assert again.start == pytest.approx(played.start, abs=0.011)


def test_a_midi_file_holds_the_notes() -> None:
    notes = [Note(0.1, 0.5, 60, 1.0), Note(0.6, 0.25, 60, 0.5), Note(0.6, 2.0, 67, 0.25)]
    data = sampled.midi_file(notes, 40, seconds=3.0)
    header, track = data[:14], data[22:]
    assert header == b"MThd\0\0\0\6\0\0\0\1" + (sampled.TICKS_PER_S // 2).to_bytes(2, "big")
    assert data[14:22] == b"MTrk" + len(track).to_bytes(4, "big")
    assert track[:3] == bytes([0, 0xC0, 40])
    at, now, sounding, found = 3, 0, {}, []
    while True:
        delta = 0
        while True:
            delta, at = delta << 7 | track[at] & 0x7F, at + 1
            if track[at - 1] < 0x80:
                break
        now += delta
        if track[at] == 0xFF:
            break
        status, pitch, velocity = track[at : at + 3]
        at += 3
        if status == 0x90:
            assert pitch not in sounding  # the note before it has ended
            sounding[pitch] = (now, velocity)
        else:
            start, velocity = sounding.pop(pitch)
            found.append((start, now - start, pitch, velocity))
    assert now == 3 * sampled.TICKS_PER_S
    assert not sounding
    ticks = [(round(n.start * 1920), round(n.duration * 1920), n.pitch) for n in notes]
    velocities = (127, 64, 32)
    expected = [(*note, v) for note, v in zip(ticks, velocities, strict=True)]
    assert sorted(found) == sorted(expected)


needs_samples = pytest.mark.skipif(
    sampled.missing_program() is not None,
    reason="FluidSynth or its soundfont is not installed (fluidsynth, timgm6mb-soundfont)",
)


@needs_samples
@pytest.mark.slow
def test_a_sampled_note_has_its_pitch_and_its_time() -> None:
    y = sampled.play([Note(0.5, 2.0, 69, 0.8)], "flute", SR)
    assert y.size == round((2.5 + synthesizer.TAIL_S) * SR)
    level = np.abs(y).max()
    assert (
        np.abs(y[: round(0.49 * SR)]).max() < 0.01 * level < np.abs(y[SR // 2 :][: SR // 5]).max()
    )
    power = np.abs(np.fft.rfft(y * np.hanning(y.size), 1 << 19))
    assert np.fft.rfftfreq(1 << 19, 1 / SR)[power.argmax()] == pytest.approx(440.0, rel=0.01)


@needs_samples
@pytest.mark.slow
def test_clips_from_the_cache_are_those_rendered_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(known_answers, "CACHE", tmp_path)
    pair = sampled.choose_sampled("tuning")[0]
    clips = known_answers.load_clips(pair)
    for found in (known_answers.load_clips(pair), pair.render(SR)):
        for name, y in clips.items():
            np.testing.assert_array_equal(found[name], y, err_msg=name)
    assert clips["target"].size == clips["content"].size == clips["take"].size


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
        for which in known_answers.HALVES
    }
    assert not chosen["held-out"] & chosen["tuning"]
    every = recordings.choose_pairs(clips, "all")
    assert len(every) == 3 * 2 * 4 * 4
    assert len(runs.limit_pairs(every, 5)) == 5


# --- distances ---------------------------------------------------------------------------------


def test_distances_of_constant_spectra_have_a_closed_form() -> None:
    flat = np.ones((8, 5))
    boosted = flat * np.where(np.arange(8) < 4, 1.0, 4.0)[:, None]
    six = 10 * np.log10(4.0)
    assert target_metrics.lsd(flat, flat) == target_metrics.lsd_frames(flat, flat) == 0.0
    assert target_metrics.lsd(boosted, flat) == pytest.approx(six / 2)
    assert target_metrics.lsd_frames(boosted, flat) == pytest.approx(six * np.sqrt(0.5))
    # One frame of four is 6 dB louder: one mean square is over time, the other over bands.
    burst = np.ones((8, 4)) * np.array([4.0, 1.0, 1.0, 1.0])
    assert target_metrics.lsd(burst, np.ones((8, 4))) == pytest.approx(six / 2)
    assert target_metrics.lsd_frames(burst, np.ones((8, 4))) == pytest.approx(six / 4)


def test_a_shelving_filter_on_noise_has_the_distance_left_after_level_matching() -> None:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(6 * 16_000))
    frequencies = np.fft.rfftfreq(6 * 16_000, 1 / 16_000)
    # The bands above the edge, of 128 Slaney bands up to 8 kHz, and their share of the power.
    boosted = np.fft.irfft(spectrum * np.where(frequencies < 2000, 1.0, 2.0))
    distance = target_metrics.lsd(
        target_metrics.mel_power(boosted.astype(np.float32), 16_000),
        target_metrics.mel_power(np.fft.irfft(spectrum).astype(np.float32), 16_000),
    )
    import librosa

    above = np.mean(librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1] > 2000)
    matched = 10 * np.log10((2000 + 4 * 6000) / 8000)  # gain of the whole, taken off again
    expected = (1 - above) * matched + above * (10 * np.log10(4.0) - matched)
    assert distance == pytest.approx(expected, abs=0.1)


def test_near_silence_does_not_count_in_the_frame_wise_distance() -> None:
    target = np.array([[1.0, 1.0], [1e-9, 1e-9]])
    deeper = np.array([[1.0, 1.0], [1e-7, 1e-12]])
    assert target_metrics.lsd_frames(deeper, target) == 0.0
    assert target_metrics.lsd(deeper, target) > 1.0


def test_the_target_at_any_level_has_no_distance(clips: dict[str, Array]) -> None:
    evaluator = target_metrics.TargetEvaluator(clips["voice"], SR)
    assert evaluator.evaluate(clips["voice"]) == {"lsd": 0.0, "lsd_frames": 0.0, "notes": 1.0}
    louder = evaluator.evaluate(4 * clips["voice"])
    assert louder["lsd"] < 1e-3
    assert evaluator.evaluate(clips["pluck"])["lsd_frames"] > 1.0


def test_the_best_static_eq_undoes_a_static_eq(clips: dict[str, Array]) -> None:
    content = clips["strings"]
    spectrum = np.fft.rfft(content)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(content.size, 1 / SR), 20.0) / 1000)
    tilted = np.fft.irfft(spectrum * 10 ** (6 * octaves / 20), content.size).astype(np.float32)
    distances = [
        target_metrics.lsd_frames(
            target_metrics.mel_power(y, SR), target_metrics.mel_power(tilted, SR)
        )
        for y in (content, target_metrics.best_static_eq(content, tilted, SR))
    ]
    assert distances[0] > 3.0
    assert distances[1] < 0.3


@pytest.mark.slow
def test_the_inversion_of_the_target_is_close_to_it() -> None:
    notes = [Note(0.1, 0.5, 64, 0.9), Note(0.7, 0.5, 69, 0.9)]
    content, target = (
        synthesizer.synthesize(notes, timbre, SR) for timbre in ("flute", "clarinet")
    )
    y = known_answers.invert_target(content, target, target, SR, TransferConfig())
    assert y.shape == target.shape
    evaluator = target_metrics.TargetEvaluator(target, SR)
    assert evaluator.evaluate(y)["lsd"] < 0.5 * evaluator.evaluate(content)["lsd"]


@pytest.mark.slow
def test_the_2f_model_falls_with_added_noise(clips: dict[str, Array]) -> None:
    pytest.importorskip("seabass", reason="not installed: pip install 'audiostyle[bench]'")
    y = clips["piano"]
    noise = np.random.default_rng(0).standard_normal(y.size) * np.sqrt(np.mean(y**2))
    noisy = [y + 10 ** (db / 20) * noise for db in (-60, -40, -20)]
    found = [target_metrics.quality_2f(clip, y, SR) for clip in noisy]
    scores = [measures["2f"] for measures in found]
    assert scores[0] > scores[1] + 10 > scores[2] + 20
    assert found[0]["2f_loud"] < scores[0]  # noise below the threshold of hearing
    assert target_metrics.quality_2f(0.3 * y, y, SR) == {"2f": 100.0, "2f_loud": 100.0}


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
        make_row(None, "identity", x=2.0, seconds=float("nan")),
        make_row(0.5, x=9.0, seconds=3.0),
        make_row(1.0, x=0.5, seconds=12.0),
    ]
    tallies = {"won": lambda row: row.measures["x"] < 1}
    text = tables.mean_table(rows, ("x", "seconds"), tallies, {"x": "identity"})
    assert "| identity | 2.00 [2.00, 2.00] | 0.00 [0.00, 0.00] |  |  |" in text
    assert "| fast | 0.50 [0.50, 0.50] | 0.75 [0.75, 0.75] | 12.0 [12.0, 12.0] | 1/1 |" in text


def test_less_by_is_the_ratio_of_the_means_with_the_interval_of_its_pairs() -> None:
    before = np.array([10.0, 10.0, 20.0, 40.0])
    low, high = tables.bootstrap_interval(0.7 * before, before)
    assert low == pytest.approx(0.3) == high  # the same share of every pair
    low, high = tables.bootstrap_interval(before - 8.0, before)
    assert low < 0.4 < high
    assert low >= 1 - 32 / 40 - 1e-9
    assert high <= 1 - 2 / 10 + 1e-9


def test_excerpts_of_the_same_clips_are_different_pairs() -> None:
    first, second = (
        recordings.RecordingPair("a/a.0.wav", "b/b.0.wav", start, 0.0) for start in (0.0, 9.0)
    )
    rows = [Row(first, "mix", {"score": 0.3}), Row(second, "mix", {"score": 0.6})]
    assert tables.best_baseline(rows, "score") == {first: 0.3, second: 0.6}


def test_a_strength_curve_holds_the_own_strength_once() -> None:
    methods = runs.read_methods(["fast", "fast:strength=.6"], strengths=True)
    own = [(method.strength, method.main) for method in methods if method.name == "fast"]
    assert own == [(0.0, False), (0.25, False), (0.5, False), (0.75, False), (1.0, True)]
    assert [method.strength for method in methods if method.main] == [1.0, 0.6]
    assert len(runs.read_methods(["fast"], strengths=False)) == 1


def test_a_method_is_a_preset_a_file_a_function_or_a_folder(tmp_path: Path) -> None:
    toml, script, folder = tmp_path / "a.toml", tmp_path / "a.py", tmp_path / "outputs"
    toml.write_text('preset = "fast"\niterations = 3\n')
    script.write_text("def louder(content, style, sr):\n    return 2 * content\n")
    folder.mkdir()
    texts = ["fast:iterations=3", str(toml), f"{script}:louder", str(folder)]
    preset, file, function, outputs = runs.read_methods(texts, strengths=False)
    assert preset.config == file.config
    assert preset.config is not None
    assert preset.config.iterations == 3
    pair = synthetic.SyntheticPair(0, "oboe", "piano")
    content = np.arange(-0.5, 0.5, 0.01, np.float32)
    y, _ = runs.run_method(function, pair, content, content, SR, tmp_path)
    np.testing.assert_array_equal(y, 2 * content)
    (written,) = (tmp_path / "outputs").iterdir()
    (again,) = runs.read_methods([str(written)], strengths=False)
    np.testing.assert_array_equal(again.run(pair, content, content, SR), y)
    with pytest.raises(AudioFileError, match="00-oboe-piano"):
        outputs.run(pair, content, content, SR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast:bands", "name=value"),
        ("quick", "neither a preset"),
        ("bench.quality.runs:nothing", "no function"),
    ],
)
def test_a_method_that_is_none_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runs.read_methods([text], strengths=False)


def test_configurations_with_the_same_inversion_share_a_row() -> None:
    texts = ["fast", "balanced", "balanced:inversion_iterations=50", "classic"]
    methods = runs.read_methods(texts, strengths=False)
    assert list(known_answers.inversions(methods)) == ["fast", *texts[2:]]


# --- the command -------------------------------------------------------------------------------


def give_back(content: Array, style: Array, sr: int) -> Array:
    return content


def test_the_command_writes_the_tables_of_known_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(known_answers, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(known_answers, "has_2f", lambda: False)
    monkeypatch.setattr(sampled, "SOUNDFONT", tmp_path / "none.sf2")
    method = f"{__file__}:give_back"
    assert quality.main([method, "--limit", "1", "-o", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "synthetic.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["identity", "eq_match", "best_static_eq", "second_take", method]
    distances = {name: float(row["lsd_frames"]) for name, row in rows.items()}
    assert distances[method] == distances["identity"]
    assert distances["second_take"] < distances["best_static_eq"] < distances["eq_match"]
    assert rows[method]["strength"] == ""
    text = (tmp_path / "out" / "quality.md").read_text()
    assert text == capsys.readouterr().out
    assert "## Synthetic pairs, tuning" in text
    assert "## Sampled pairs, tuning\n\nno sampled pairs: " in text
    assert not (tmp_path / "out" / "sampled.csv").exists()
    found = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert list(found) == ["synthetic"]
    assert found["synthetic"]["command"] == f"python -m bench.quality {method} --limit 1"
    assert found["synthetic"]["methods"][method]["lsd_frames"][0] == distances[method]


def test_the_summary_has_the_means_of_the_pairs_and_the_pairs_won(tmp_path: Path) -> None:
    lines = ["pair,content,style,method,strength,lsd_frames,2f"]
    for pair, (content, equalized, low, full) in {
        "a": (10, 9, 9, 8),
        "b": (30, 15, 16, 16),
    }.items():
        lines += [f"{pair},c,s,identity,,{content},", f"{pair},c,s,eq_match,,{equalized},"]
        lines += [f"{pair},c,s,own,1,{full},50", f"{pair},c,s,own,0.5,{low},40"]
    (tmp_path / "sampled.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "all.json").write_text('{"recordings": {}}')
    assert summary.main([str(tmp_path), "-o", str(tmp_path / "all.json")]) == 0
    found = json.loads((tmp_path / "all.json").read_text())
    assert list(found) == ["recordings", "sampled"]  # what another run measured stays
    own = found["sampled"]["methods"]["own"]
    assert own["lsd_frames"] == [12.0, 8.0, 16.0]  # the highest strength; the interval of two pairs
    assert own["lsd_frames less by"][0] == 0.4  # 24 of 40
    assert own["lsd_frames won"] == 1
    assert own["2f"][0] == 50
    assert "2f" not in found["sampled"]["methods"]["identity"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "recordings"], "--recordings"),
        (["--limit", "0"], "at least 1"),
        (["--recordings", "nowhere"], "not a folder"),
    ],
)
def test_usage_errors_name_the_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        quality.main(arguments)
    assert message in capsys.readouterr().err
