"""Plots of a transfer: the figure of ``--plot``, and spectrograms without axes for HTML pages.

Both share the colors, the dB scale and the loss curves of this module. A page draws its own axes,
so that its play head can move over a spectrogram.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.events import TERMS
from audiostyle.utils.lazy_imports import load_librosa, load_matplotlib

if TYPE_CHECKING:
    from audiostyle.config.transfer_config import TransferConfig
    from audiostyle.core.transfer import TransferResult


_DRAWING = threading.Lock()  # the style is the process's
MAX_COLUMNS = 1000  # of a spectrogram
WEBP_QUALITY = 62
MAX_TITLE = 120  # characters
COLOR_MAP = "magma"  # perceptually uniform, and monotonic in gray
LOSS_COLORS = {
    **{"total": "#222222", "content": "#2f6db5", "style": "#c8452f", "texture": "#e39a2d"},
    **{"music": "#d4668f", "pitch": "#3aa6a6", "onset": "#7d7d7d", "rhythm": "#8a6bb8"},
    "envelope": "#4f8f3a",
}


def transfer_figure(result: TransferResult, title: str = "") -> Any:
    """Draw content, style and result on one dB scale, with the loss curves below them."""
    figure = load_matplotlib().figure.Figure(figsize=(12, 7), dpi=120, layout="constrained")
    text = title.encode("utf-8", "replace").decode()  # file names may hold any bytes
    short = text if len(text) <= MAX_TITLE else text[: MAX_TITLE - 1] + "…"
    figure.suptitle(short, parse_math=False)
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 2))
    spectrograms = {"content": result.S_content, "style": result.S_style, "result": result.S_result}
    scale = shared_range(list(spectrograms.values()), result.config)
    axes = []
    for i, (name, S) in enumerate(spectrograms.items()):
        ax = figure.add_subplot(grid[0, i])
        fold = 1 if name == "style" else result.fold
        mesh = _draw_spectrogram(ax, S, fold, result.config, scale)
        ax.set_title(name)
        if i > 0:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        axes.append(ax)
    figure.colorbar(mesh, ax=axes, pad=0.01).set_label("dB")
    _draw_losses(figure.add_subplot(grid[1, :]), result)
    return figure


def transfer_png(result: TransferResult, title: str = "") -> bytes:
    """Draw `transfer_figure` as a PNG."""
    buffer = io.BytesIO()
    with _default_style():
        transfer_figure(result, title).savefig(buffer, format="png")
    return buffer.getvalue()


@contextlib.contextmanager
def _default_style() -> Iterator[None]:
    """Draw as Matplotlib does without a matplotlibrc, and without warnings; for one thread."""
    matplotlib = load_matplotlib()
    with _DRAWING, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a title in any script
        matplotlib.rcdefaults()
        yield


def shared_range(spectrograms: Sequence[Array], config: TransferConfig) -> tuple[float, float]:
    """Return the limits in dB of a scale on which all spectrograms can be compared.

    At least one of them must not be empty; the scale ends ``top_db`` below the loudest value.
    """
    high = max(float(S.max()) for S in spectrograms if S.size)
    return high - config.top_db, high


def average_columns(S: Array, limit: int = MAX_COLUMNS) -> tuple[Array, int]:
    """Average neighbouring columns of S [shape=(n_mels, t), dB] until there are at most `limit`.

    Returns the means and the number of columns per mean; the last mean may have fewer.
    """
    step = -(-S.shape[1] // limit)
    if step <= 1:
        return S, 1
    first = np.arange(0, S.shape[1], step)
    return np.add.reduceat(S, first, axis=1) / np.diff(first, append=S.shape[1]), step


@lru_cache(maxsize=1)
def colors() -> Array:
    """Return the color map of spectrograms [shape=(256, 3), uint8], from low to high."""
    return np.asarray(load_matplotlib().colormaps[COLOR_MAP](np.arange(256), bytes=True)[:, :3])


def spectrogram_image(
    S: Array, scale: tuple[float, float], size: tuple[int, int] | None = None
) -> tuple[str, bytes]:
    """Draw a spectrogram without axes, one pixel per value, low frequencies at the bottom.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        At least one column.
    scale : (float, float), in dB
        Limits of the color map.
    size : (int, int), optional
        Largest number of columns and bands; the image is then lossy, if possible.

    Returns
    -------
    tuple of str and bytes
        Media type and image.
    """
    from PIL import Image, features

    low, high = scale
    levels = np.clip((np.flipud(S) - low) / max(high - low, 1e-9), 0.0, 1.0)
    image = Image.fromarray(np.asarray(np.round(255 * levels), np.uint8))
    if size is not None:
        smaller = min(size[0], image.width), min(size[1], image.height)
        image = image.resize(smaller, Image.Resampling.BOX)
    image.putpalette(colors().tobytes())
    buffer = io.BytesIO()
    if size is not None and features.check("webp"):
        image.convert("RGB").save(buffer, "webp", quality=WEBP_QUALITY, method=4)
        return "image/webp", buffer.getvalue()
    image.save(buffer, "png", optimize=True)
    return "image/png", buffer.getvalue()


def loss_curves(
    losses: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Return the total and the weighted terms of each iteration, without terms of weight 0.

    `losses` are dictionaries of `Iteration`, `parameters` are those of `TransferConfig.to_dict`;
    both may be of another version.
    """
    weights = {"total": 1.0} | {n: float(parameters.get(f"{n}_weight", 0.0)) for n in TERMS}
    weights |= {name: float(w) for name, w in (parameters.get("losses") or {}).items()}
    values = [{**step, **(step.get("more") or {})} for step in losses]
    return {
        name: [weight * float(step.get(name) or 0.0) for step in values]
        for name, weight in weights.items()
        if weight > 0
    }


def _draw_spectrogram(
    ax: Any, S: Array, fold: int, config: TransferConfig, scale: tuple[float, float]
) -> Any:
    load_librosa()
    from librosa.display import specshow

    S, step = average_columns(S)  # more columns than pixels take minutes and show nothing
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
        cmap=COLOR_MAP,
        vmin=scale[0],
        vmax=scale[1],
        ax=ax,
    )


def _draw_losses(ax: Any, result: TransferResult) -> None:
    iterations = [iteration.step for iteration in result.history]
    history = [vars(iteration) for iteration in result.history]
    for name, values in loss_curves(history, result.config.to_dict()).items():
        line = "-" if name in LOSS_COLORS else "--"  # plugin losses have no color of their own
        ax.plot(iterations, values, line, label=name, color=LOSS_COLORS.get(name), marker=".")
    ax.set_yscale("symlog", linthresh=1e-6)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(f"iteration (stopped: {result.stopped})")
    ax.set_ylabel("weighted loss")
    ax.grid(alpha=0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the curves, not on them
