"""Mixing of a result with its content: sample by sample, so that they are in phase."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.loudness import LoudnessMatchedStream, match_loudness_stream
from audiostyle.audio.streams import StreamReader
from audiostyle.dsp.normalized_stream import NormalizedStream


def mix_blocks(
    content: Iterator[Array], result: Iterator[Array], channels: int, mix: float
) -> Iterator[Array]:
    """Yield the share `mix` of the result and the rest of the content [shape=(channels, n)]."""
    reader, first = StreamReader(content, channels), 0
    for y in result:
        x = reader.read(first, first + y.shape[1])
        first += y.shape[1]
        yield np.asarray(x + np.float32(mix) * (y - x), np.float32)  # exact where nothing changed


def mix_with_content(
    result: LoudnessMatchedStream, content: NormalizedStream, mix: float, ceiling: float = 1.0
) -> LoudnessMatchedStream:
    """Mix a result at the loudness of its content with the content; the gain is that of the sum.

    Only a content above the ceiling can lift the sum above it; it is limited or lowered then.
    """
    peak = content.peak + mix * (ceiling - content.peak) if content.peak > ceiling else 0.0
    return match_loudness_stream(
        lambda: mix_blocks(content.blocks(), result.blocks(), content.channels, mix),
        content.sr,
        loudness=0.0,
        peak=peak,
        target=0.0,
        ceiling=ceiling,
    )
