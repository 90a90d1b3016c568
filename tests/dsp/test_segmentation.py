from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from audiostyle.dsp.segmentation import (
    MARGIN_FRAMES,
    OVERLAP_FRAMES,
    WINDOW_FRAMES,
    Window,
    fade_in,
    plan_windows,
    split_frames,
)

# Every length up to several windows, for sizes small enough to try them all; then those in use.
PLANS = [
    *(
        (n, size, overlap)
        for size, overlap in ((9, 3), (100, 33), (144, 48))
        for n in range(1, 500)
    ),
    *((n, WINDOW_FRAMES, OVERLAP_FRAMES) for n in (1, 1312, 1313, 1400, 2528, 2529, 9999, 300_000)),
]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_parts_cover_the_frames_exactly_and_are_as_few_as_possible(size: int) -> None:
    for n_frames in range(1, 501):
        parts = split_frames(n_frames, size)
        covered = [frame for first, last in parts for frame in range(first, last)]
        assert covered == list(range(n_frames))
        lengths = [last - first for first, last in parts]
        assert max(lengths) <= size
        assert max(lengths) - min(lengths) <= 1
        assert len(parts) == 1 or (len(parts) - 1) * size < n_frames


def test_a_short_recording_is_one_window_without_a_fade() -> None:
    for n_frames in (1, 50, WINDOW_FRAMES):
        assert plan_windows(n_frames) == [Window(0, n_frames, 0, 0)]
        assert split_frames(n_frames) == [(0, n_frames)]


def test_windows_of_one_size_cover_every_frame() -> None:
    for n_frames, size, overlap in PLANS:
        windows = plan_windows(n_frames, size, overlap)
        assert windows[0].start == 0
        assert windows[-1].stop == n_frames
        assert {w.stop - w.start for w in windows} == {min(size, n_frames)}
        assert all(a.start < b.start <= a.stop for a, b in pairwise(windows))


def test_windows_overlap_enough_and_are_as_few_as_possible() -> None:
    for n_frames, size, overlap in PLANS:
        windows = plan_windows(n_frames, size, overlap)
        assert all(a.stop - b.start >= overlap for a, b in pairwise(windows))
        one_less = len(windows) - 1
        assert one_less == 0 or one_less * size - (one_less - 1) * overlap < n_frames


def test_windows_are_spread_evenly() -> None:
    for n_frames, size, overlap in PLANS:
        steps = [b.start - a.start for a, b in pairwise(plan_windows(n_frames, size, overlap))]
        assert not steps or max(steps) - min(steps) <= 1


def test_fades_lie_inside_the_overlaps_in_order() -> None:
    for n_frames, size, overlap in PLANS:
        windows = plan_windows(n_frames, size, overlap)
        assert windows[0].fade_start == windows[0].fade_stop == windows[0].start
        for before, window in pairwise(windows):
            assert window.start <= window.fade_start <= window.fade_stop <= before.stop
            assert before.fade_stop <= window.fade_start


def test_a_fade_leaves_out_the_margin_at_either_end_of_an_overlap() -> None:
    for n_frames in (1313, 2529, 9999, 300_000):
        for before, window in pairwise(plan_windows(n_frames)):
            assert window.fade_start - window.start >= MARGIN_FRAMES
            assert before.stop - window.fade_stop >= MARGIN_FRAMES
            assert window.fade_stop - window.fade_start == OVERLAP_FRAMES - 2 * MARGIN_FRAMES


def test_a_fade_rises_from_0_to_1_and_sums_to_1_with_its_fade_out() -> None:
    for n in range(200):
        rising = fade_in(n)
        assert rising.shape == (n,)
        assert rising.dtype == np.float32
        assert (rising > 0).all() and (rising < 1).all()
        assert (np.diff(rising) > 0).all()
        np.testing.assert_allclose(rising + rising[::-1], 1, atol=1e-6)


def test_the_weights_of_all_windows_sum_to_1_in_every_frame() -> None:
    for n_frames, size, overlap in PLANS:
        if n_frames > 20_000:
            continue
        windows = plan_windows(n_frames, size, overlap)
        total = np.zeros(n_frames)
        for i, window in enumerate(windows):
            weights = np.zeros(n_frames)
            weights[window.fade_stop : window.stop] = 1
            fade = slice(window.fade_start, window.fade_stop)
            weights[fade] = fade_in(window.fade_stop - window.fade_start)
            if i + 1 < len(windows):
                after = windows[i + 1]
                weights[after.fade_stop :] = 0
                weights[after.fade_start : after.fade_stop] *= 1 - fade_in(
                    after.fade_stop - after.fade_start
                )
            total += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)
