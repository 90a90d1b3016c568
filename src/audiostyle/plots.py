"""Pictures of a transfer."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostyle.events import TERMS

if TYPE_CHECKING:
    from audiostyle.config import TransferConfig
    from audiostyle.pipeline import TransferResult

MAX_COLUMNS = 1000  # of a spectrogram
MAX_TITLE = 120  # characters
COLOUR_MAP = "magma"  # perceptually uniform, and monotonic in grey
LOSS_COLOURS = {
    "total": "#222222",
    "content": "#2f6db5",
    "style": "#c8452f",
    "texture": "#e39a2d",
    "music": "#d4668f",
    "pitch": "#3aa6a6",
    "onset": "#7d7d7d",
    "rhythm": "#8a6bb8",
    "envelope": "#4f8f3a",
}


def transfer_figure(result: TransferResult, title: str = "") -> Any:
    """Draw content, style and result on one dB scale, and the loss curves below them.

    Parameters
    ----------
    result : TransferResult
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), dpi=120, layout="constrained")
    figure.suptitle(_shown(title), parse_math=False)
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 2))
    top = max(S.max() for S in (result.S_content, result.S_style, result.S_result))
    images = []
    axes = []
    for i, (name, S, fold) in enumerate(
        (
            ("content", result.S_content, result.fold),
            ("style", result.S_style, 1),
            ("result", result.S_result, result.fold),
        )
    ):
        ax = figure.add_subplot(grid[0, i])
        images.append(_spectrogram(ax, S, fold, result.config, top))
        ax.set_title(name)
        if i > 0:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        axes.append(ax)
    bar = figure.colorbar(images[0], ax=axes, pad=0.01)
    bar.set_label("dB")
    _loss_curves(figure.add_subplot(grid[1, :]), result)
    return figure


def transfer_png(result: TransferResult, title: str = "") -> bytes:
    """Draw `transfer_figure` as a PNG.

    Parameters
    ----------
    result : TransferResult
    title : str

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a title in any script
        transfer_figure(result, title).savefig(buffer, format="png")
    return buffer.getvalue()


def _shown(title: str) -> str:
    """Cut a title to one line, and replace what is no text (names of files may be any bytes)."""
    text = title.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= MAX_TITLE else text[: MAX_TITLE - 1] + "…"


def _spectrogram(ax: Any, S: Any, fold: int, config: TransferConfig, top: float) -> Any:
    from librosa.display import specshow

    step = -(-S.shape[1] // MAX_COLUMNS)  # more columns than pixels cost minutes and show nothing
    if step > 1:
        first = np.arange(0, S.shape[1], step)
        S = np.add.reduceat(S, first, axis=1) / np.diff(first, append=S.shape[1])
    return specshow(
        S,
        sr=config.sr,
        hop_length=config.hop_length * fold * step,
        n_fft=config.n_fft,
        x_axis="time",
        y_axis="mel",
        fmin=0.0,
        fmax=config.sr / 2,
        htk=config.mel_scale == "htk",
        cmap=COLOUR_MAP,
        vmin=top - config.top_db,
        vmax=top,
        ax=ax,
    )


def _loss_curves(ax: Any, result: TransferResult) -> None:
    config = result.config
    weights = {"total": 1.0} | {name: getattr(config, f"{name}_weight") for name in TERMS}
    steps = [iterate.step for iterate in result.history]
    for name, weight in weights.items():
        if weight > 0:
            values = [weight * getattr(iterate, name) for iterate in result.history]
            ax.plot(steps, values, label=name, color=LOSS_COLOURS[name], marker=".")
    ax.set_yscale("symlog", linthresh=1e-6)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(f"step (stopped: {result.stopped})")
    ax.set_ylabel("weighted loss")
    ax.grid(alpha=0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the curves, not on them
