"""Compressed files as phones, browsers and video sites write them, encoded by PyAV."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.conftest import Array

BIT_RATE = 96_000
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def encode(
    y: Array,
    sr: int,
    container: str,
    codec: str,
    tracks: int = 1,
    picture: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """Encode samples [shape=(n,) or (channels, n)]; every track but the first is silent.

    With `picture`, a video of some frames comes before the sound; without tracks there is no sound.
    """
    y = np.atleast_2d(y).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:  # muxers may read what they have written
        path = Path(folder, "media")
        with av.open(str(path), "w", format=container, options=options or {}) as file:
            video = _add_video(file) if picture else None
            outputs = [_add_track(file, codec, sr, LAYOUTS[len(y)]) for _ in range(tracks)]
            if video is not None:
                _show(file, video)
            for number, output in enumerate(outputs):
                for frame in _frames(y * (number == 0), sr, output.codec_context):
                    file.mux(output.encode(frame))
                file.mux(output.encode(None))
        return path.read_bytes()


def _add_track(file: Any, codec: str, sr: int, layout: str) -> Any:
    output = file.add_stream(codec, rate=sr, layout=layout)
    output.codec_context.bit_rate = 12_200 if codec == "amr_nb" else BIT_RATE
    return output


def _frames(y: Array, sr: int, encoder: Any) -> Sequence[Any]:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(y), "fltp", LAYOUTS[len(y)])
    frame.sample_rate, frame.pts, frame.time_base = sr, 0, Fraction(1, sr)
    encoder.open(strict=False)
    resampler = av.AudioResampler(
        encoder.format, LAYOUTS[len(y)], sr, frame_size=encoder.frame_size or 1024
    )
    return [*resampler.resample(frame), *resampler.resample(None)]


def _add_video(file: Any) -> Any:
    video = file.add_stream("mpeg4", rate=25)
    video.width = video.height = 16
    video.pix_fmt = "yuv420p"
    return video


def _show(file: Any, video: Any) -> None:
    for number in range(15):
        picture = av.VideoFrame.from_ndarray(np.full((24, 16), number, np.uint8), "yuv420p")
        picture.pts, picture.time_base = number, Fraction(1, 25)
        file.mux(video.encode(picture))
    file.mux(video.encode(None))
