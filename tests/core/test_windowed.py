"""Contents of several windows: nothing is lost, and there are no seams."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audiostyle.audio import buffer, level
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.resampling import resample
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import windowed
from audiostyle.core.transfer import StyleTransfer, transfer
from audiostyle.dsp import segmentation, spectrogram
from audiostyle.events import Iteration, Stage
from tests.conftest import SR, Array, SetWindows, decibels_of, make_noise
from tests.support import long
from tests.support.long import CONFIG, FakeOptimizer, content_of, known_style, record, style

SIZE, OVERLAP = 160, 48  # the fades are of 16 frames
HUGE = 100_000

GAIN = (8 * np.sin(np.arange(CONFIG.n_mels) / 5)).astype(np.float32)[:, None]


def add_gain(S: Array) -> Array:
    """Apply one gain per band, the same at all times: a change in which windows cannot differ."""
    return np.asarray(S + GAIN)


def fades(n_frames: int) -> Array:
    """Mark the frames where two windows are crossfaded."""
    marked = np.zeros(n_frames, bool)
    for window in segmentation.plan_windows(n_frames)[1:]:
        marked[window.fade_start : window.fade_stop] = True
    return marked


@pytest.mark.parametrize("n_frames", [50, 160, 161, 200, 272, 273, 500])
def test_segments_cover_the_content_once_and_in_order(
    n_frames: int, small_windows: SetWindows
) -> None:
    small_windows(SIZE, OVERLAP)
    recording = record(np.repeat(content_of(n_frames), 2, axis=0))
    run, segments, S_content = long.optimize(recording, FakeOptimizer(CONFIG, lambda S: S + 1))
    pad = recording.pad_frames
    D = recording.frame_reader(padded=True).stft(0, n_frames + 2 * pad)
    power = spectrogram.channel_power(D)
    S = spectrogram.mel_db(power, CONFIG)
    assert recording.n_frames == n_frames
    np.testing.assert_array_equal(np.concatenate([s.D for s in segments], axis=2), D)
    joined = np.concatenate([s.content_power for s in segments], axis=1)
    np.testing.assert_allclose(joined, power, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([s.S for s in segments], axis=1), S + 1, atol=1e-4)
    np.testing.assert_allclose(S_content, S[:, pad:-pad], atol=1e-4)
    assert [s.last for s in segments] == [False] * (len(segments) - 1) + [True]
    assert len(segments) == len(run.windows)
    assert (len(segments) == 1) == (n_frames <= SIZE)


@pytest.mark.parametrize("sr", [SR, 44_100])
def test_an_untouched_content_of_several_windows_comes_back(
    sr: int, small_windows: SetWindows
) -> None:
    small_windows(SIZE, OVERLAP)
    y = np.concatenate([content_of(200), 0.1 * content_of(200)], axis=1)  # two levels
    y = np.stack([y[0], y[0, ::-1]])
    if sr != SR:
        y = resample(y, SR, sr)
    result = style(y, FakeOptimizer(CONFIG), sr=sr)
    assert result.n_windows == 4
    assert result.y is not None and result.y.shape == y.shape
    assert decibels_of(result.y - y, y) < -60
    assert result.gain == pytest.approx(0.0, abs=0.01)
    assert result.reduction == 0.0


def test_strength_0_returns_a_content_of_several_windows(
    tiny_config: TransferConfig, small_windows: SetWindows
) -> None:
    small_windows(SIZE, OVERLAP)
    y = content_of(300)
    config = replace(tiny_config, strength=0.0, iterations=1)
    result = transfer(y, make_noise(), SR, config)
    assert result.n_windows == 3
    assert result.y is not None
    assert decibels_of(result.y - y, y) < -50


def test_there_is_no_seam_where_windows_meet(small_windows: SetWindows) -> None:
    """-78 dB; the rest comes from the levels, which differ from window to window."""
    y = content_of(480)
    small_windows(HUGE, OVERLAP)
    one = style(y, FakeOptimizer(CONFIG, add_gain))
    small_windows(SIZE, OVERLAP)
    many = style(y, FakeOptimizer(CONFIG, add_gain))
    assert (one.n_windows, many.n_windows) == (1, 4)
    assert one.y is not None and many.y is not None
    assert decibels_of(one.y - y, y) > -20  # an audible change
    assert decibels_of(many.y - one.y, one.y) < -70
    frames = [x[0, : 479 * 256].reshape(479, 256) for x in (many.y - one.y, one.y)]
    energy = [np.square(x, dtype=np.float64).sum(axis=1) for x in frames]
    error = 10 * np.log10(energy[0] / energy[1] + 1e-12)
    met = fades(480)[:479]
    assert error[met].max() < -60
    assert np.median(error[met]) < np.percentile(error[~met], 95)


@pytest.mark.slow
def test_frames_change_no_faster_where_windows_meet_than_elsewhere(
    tiny_config: TransferConfig, small_windows: SetWindows
) -> None:
    small_windows(SIZE, OVERLAP)
    y = content_of(384)
    config = replace(tiny_config, iterations=5, tolerance=0.0)
    result = transfer(y, make_noise(2.0, seed=5), SR, config)
    assert result.n_windows == 3
    assert (
        np.abs(result.S_result - result.S_content).mean() > 3
    )  # dB: the optimisation changed a lot
    change = np.abs(np.diff(result.S_result, axis=1)).mean(axis=0)
    met = fades(384)
    met = met[1:] | met[:-1]
    n = 17  # changes from the frame before a fade to the frame after it
    means = np.convolve(change, np.ones(n) / n, mode="valid")
    alone = np.convolve(met, np.ones(n), mode="valid") == 0
    bar = np.percentile(means[alone], 95)
    for window in segmentation.plan_windows(384)[1:]:
        assert change[window.fade_start - 1 : window.fade_stop].mean() < bar


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "optimizer", "iterations", "most", "mean"),
    [(2, "adam", 1, 1e-3, 1e-5), (3, "lbfgs", 2, 5.0, 3e-3)],
)
def test_windows_side_by_side_equal_those_one_by_one(
    size: int,
    optimizer: str,
    iterations: int,
    most: float,
    mean: float,
    tiny_config: TransferConfig,
    small_windows: SetWindows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to rounding, which L-BFGS magnifies where a maximum of the pooling is a tie."""
    small_windows(SIZE, OVERLAP)
    config = replace(
        tiny_config, init="noise", optimizer=optimizer, iterations=iterations, tolerance=0.0
    )
    y, other, style_transfer = (
        content_of(384),
        make_noise(2.0, seed=5),
        StyleTransfer(config, "cpu"),
    )
    alone = style_transfer.transfer(y, other, SR)
    monkeypatch.setitem(windowed.BATCH_WINDOWS, "CPU", size)
    stacked = style_transfer.transfer(y, other, SR)
    assert alone.n_windows == stacked.n_windows == 3
    difference = np.abs(stacked.S_result - alone.S_result)
    assert difference.max() < most
    assert difference.mean() < mean
    assert np.abs(alone.S_result - alone.S_content).mean() > 3  # dB: the optimisation changed a lot


@pytest.mark.parametrize(("stacked", "sizes"), [(1, [1, 1, 1, 1]), (3, [3, 1]), (4, [4])])
def test_iterations_report_the_share_that_is_done(
    stacked: int, sizes: list[int], small_windows: SetWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(SIZE, OVERLAP)
    monkeypatch.setitem(windowed.BATCH_WINDOWS, "CPU", stacked)
    optimizer, events = FakeOptimizer(CONFIG), list[Stage | Iteration]()
    result = style(content_of(480), optimizer, events.append)
    assert optimizer.sizes == sizes
    steps = [event for event in events if isinstance(event, Iteration)]
    n = len(sizes)
    assert [(s.window, s.n_windows) for s in steps] == [(i + 1, n) for i in range(n) for _ in "012"]
    expected = [(i + step / 2) / n for i in range(n) for step in range(3)]
    np.testing.assert_allclose([s.done for s in steps], expected)
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages == ["features", "optimization", "inversion"]
    assert result.n_windows == 4
    assert len(result.history) == 3


def test_an_interruption_leaves_later_windows_at_their_start(small_windows: SetWindows) -> None:
    small_windows(SIZE, OVERLAP)
    y = content_of(480)
    events: list[Stage | Iteration] = []

    def report(event: Stage | Iteration) -> bool:
        events.append(event)
        return isinstance(event, Iteration) and (event.window, event.step) == (2, 1)

    optimizer = FakeOptimizer(CONFIG, lambda S: S - 20)
    result = style(y, optimizer, report)
    assert result.stopped == "interrupted"
    assert result.y is not None and result.y.shape == y.shape
    assert [e.window for e in events if isinstance(e, Iteration)] == [1, 1, 1, 2, 2]
    assert [e.name for e in events if isinstance(e, Stage)][-1] == "inversion"
    run, segments, _ = long.optimize(record(y), optimizer, report)
    S = np.concatenate([segment.S for segment in segments], axis=1)
    power = np.concatenate([segment.content_power for segment in segments], axis=1)
    change = (S - spectrogram.mel_db(power, CONFIG)).mean(axis=0)
    pad = record(y).pad_frames
    change = change[pad:-pad]
    second, third = run.windows[1:3]
    np.testing.assert_allclose(change[: third.fade_start], -20, atol=1e-3)
    np.testing.assert_allclose(change[third.fade_stop :], 0, atol=1e-3)
    assert np.all(np.diff(change[third.fade_start : third.fade_stop]) > 0)
    assert second.start < third.fade_start


@pytest.mark.parametrize(("seconds", "long_"), [(0.0, False), (0.1, False), (10.0, True)])
def test_a_long_transfer_is_announced(
    seconds: float, long_: bool, small_windows: SetWindows
) -> None:
    small_windows(SIZE, OVERLAP)
    optimizer, events = FakeOptimizer(CONFIG), list[Stage | Iteration]()
    optimizer.seconds = seconds
    style(content_of(480), optimizer, events.append)
    stages = [event for event in events if isinstance(event, Stage)]
    estimates = [stage.detail for stage in stages if stage.name == "estimate"]
    if not long_:
        assert estimates == []
        return
    steps = windowed.ITERATION_TO_ANALYSIS * seconds * CONFIG.iterations
    sound = windowed.SOUND_SHARE * 480 * CONFIG.hop_length / SR
    assert estimates == [f"about {round((4 * steps + sound) / 60)} min"]
    names = [stage.name for stage in stages]
    assert names.index("estimate") < names.index("optimization")


def peak_memory(n_windows: int, folder: Path, small_windows: Callable[[int, int], None]) -> int:
    """Transfer a content that is not in memory to a buffer that is not in memory either."""
    small_windows(SIZE, OVERLAP)
    block = 4096
    n = (SIZE + (n_windows - 1) * (SIZE - OVERLAP) - 1) * CONFIG.hop_length
    recording = record(long.Generated(n // block, block))
    style_transfer = long.fake_style_transfer(FakeOptimizer(CONFIG, add_gain))
    gc.collect()
    tracemalloc.start()
    with AudioBuffer(1, folder, memory_bytes=0) as buffer:
        styles = [known_style()]
        result = style_transfer.run(recording, styles, buffer, preview_frames=64)
        assert result.n_windows == n_windows
        assert buffer.n == recording.n
        assert buffer._file._rolled  # type: ignore[attr-defined]
        n_read = sum(part.shape[1] for part in result.blocks())
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_read == recording.n
    assert result.S_result.shape[1] <= 2 * 64
    return peak


@pytest.mark.slow
def test_memory_does_not_depend_on_the_length(
    tmp_path: Path, small_windows: SetWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (level, buffer):
        monkeypatch.setattr(module, "BLOCK_SAMPLES", 4096)
    peak_memory(2, tmp_path, small_windows)  # what is cached once is no matter
    short, long_ = (peak_memory(n, tmp_path, small_windows) for n in (4, 16))
    assert abs(long_ - short) < 0.1 * short
    assert list(tmp_path.iterdir()) == []
