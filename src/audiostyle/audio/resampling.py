"""Resampling of streams and arrays, with soxr at its high quality."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import split_blocks


def resample_stream(
    blocks: Iterator[Array], orig_sr: int, target_sr: int, channels: int
) -> Iterator[Array]:
    """Resample a stream of blocks [shape=(channels, n)]; rates are in Hz.

    ``ceil(n * target_sr / orig_sr)`` samples [float32] are yielded for `n` in all. If the rates are
    equal, the blocks are returned unchanged.
    """
    if orig_sr == target_sr:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(orig_sr, target_sr, channels, dtype="float32", quality="HQ")
    n_in = n_out = 0
    for whole in blocks:
        for block in split_blocks(whole):
            n_in += block.shape[1]
            chunk = stream.resample_chunk(np.ascontiguousarray(block.T, np.float32))
            n_out += len(chunk)
            if len(chunk):
                yield chunk.T
    missing = -(-n_in * target_sr // orig_sr) - n_out
    if n_in == 0 or missing <= 0:
        return
    rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)[:missing]
    yield np.pad(rest, ((0, missing - len(rest)), (0, 0))).T


def resample(y: Array, orig_sr: int, target_sr: int) -> Array:
    """Resample an array [shape=(channels, n)]; see `resample_stream`."""
    y = np.asarray(y, np.float32)
    if orig_sr == target_sr or not y.size:
        return y
    return np.concatenate(list(resample_stream(iter([y]), orig_sr, target_sr, len(y))), axis=1)
