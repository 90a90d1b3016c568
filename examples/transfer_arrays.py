"""Use audiostyle from Python: arrays in, arrays out, progress as events.

Run ``python examples/transfer_arrays.py``; it writes ``demo/arrays.wav``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

import audiostyle
from audiostyle import TransferConfig
from audiostyle.events import Iteration, Stage

HERE = Path(__file__).parent


def show(event: Stage | Iteration) -> None:
    """Print the losses of every fifth step."""
    if isinstance(event, Iteration) and event.step % 5 == 0:
        print(f"step {event.step}: content {event.content:.4f}, style {event.style:.4f}")


def main() -> None:
    """Transfer a style at two strengths, and write content and results one after the other."""
    content, sr = sf.read(HERE / "pluck.flac", dtype="float32")
    style, _ = sf.read(HERE / "strings.flac", dtype="float32")
    takes = [content]
    for strength in (0.5, 1.0):
        config = TransferConfig.from_preset("fast", strength=strength)
        result = audiostyle.transfer(content, style, sr, config, callback=show)
        takes.append(result.y)
    output = HERE.parent / "demo" / "arrays.wav"
    output.parent.mkdir(exist_ok=True)
    sf.write(output, np.concatenate(takes), sr)
    print(output)


if __name__ == "__main__":
    main()
