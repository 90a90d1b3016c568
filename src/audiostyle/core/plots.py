"""Pictures of a transfer: whole figures for ``--plot``, bare spectrograms for pages.

Both have the colours, the dB scale and the curves of this module. A page draws its axes itself, so
that a play head can move over a picture to the pixel.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle.events import TERMS

if TYPE_CHECKING:
    from audiostyle.config.transfer_config import TransferConfig
    from audiostyle.core.transfer import TransferResult

Array = npt.NDArray[Any]

MAX_COLUMNS = 1000  # of a spectrogram
WEBP_QUALITY = 62
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
    low, high = shared_range((result.S_content, result.S_style, result.S_result), result.config)
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
        images.append(_spectrogram(ax, S, fold, result.config, (low, high)))
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


def shared_range(pictures: Sequence[Array], config: TransferConfig) -> tuple[float, float]:
    """Find the dB scale on which several spectrograms can be compared.

    Parameters
    ----------
    pictures : sequence of np.ndarray [shape=(n_mels, t), dB]
        At least one that is not empty.
    config : TransferConfig
        Its ``top_db`` is the range.

    Returns
    -------
    low, high : float, in dB
    """
    high = max(float(S.max()) for S in pictures if S.size)
    return high - config.top_db, high


def few_columns(S: Array, limit: int = MAX_COLUMNS) -> tuple[Array, int]:
    """Average neighbouring columns until there are few enough to look at.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
    limit : int > 0

    Returns
    -------
    S : np.ndarray [shape=(n_mels, at most limit), dB]
    step : int
        Columns that were made one; the last may be of fewer.
    """
    step = -(-S.shape[1] // limit)
    if step <= 1:
        return S, 1
    first = np.arange(0, S.shape[1], step)
    return np.add.reduceat(S, first, axis=1) / np.diff(first, append=S.shape[1]), step


@lru_cache(maxsize=1)
def colours() -> Array:
    """Return the colour map of spectrograms [shape=(256, 3), uint8], from low to high.

    Returns
    -------
    np.ndarray
    """
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOUR_MAP](np.arange(256), bytes=True)[:, :3])


def spectrogram_image(
    S: Array, scale: tuple[float, float], size: tuple[int, int] | None = None
) -> tuple[str, bytes]:
    """Draw a spectrogram without axes: a pixel a band and column, low frequencies at the bottom.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, t), dB]
        At least one column.
    scale : (float, float), in dB
        What the ends of the colour map stand for.
    size : (int, int), optional
        At most so many columns and bands; the picture is small then, at the price of a loss that
        is hardly seen.

    Returns
    -------
    kind : str
        ``image/png`` or ``image/webp``.
    data : bytes
    """
    from PIL import Image, features

    low, high = scale
    levels = np.clip((np.flipud(S) - low) / max(high - low, 1e-9), 0.0, 1.0)
    picture = Image.fromarray(np.asarray(np.round(255 * levels), np.uint8))
    small = size is not None and features.check("webp")
    if size is not None:
        wanted = min(size[0], picture.width), min(size[1], picture.height)
        picture = picture.resize(wanted, Image.Resampling.BOX)
    picture.putpalette(colours().tobytes())
    buffer = io.BytesIO()
    if small:
        picture.convert("RGB").save(buffer, "webp", quality=WEBP_QUALITY, method=4)
    else:
        picture.save(buffer, "png", optimize=True)
    return ("image/webp" if small else "image/png"), buffer.getvalue()


def loss_curves(
    losses: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Weight the losses of a descent as they make its total.

    Parameters
    ----------
    losses : sequence of mapping
        What every step lost, by the names of `Iteration`.
    parameters : mapping
        As from `TransferConfig.to_dict`.

    Returns
    -------
    dict of str to list of float
        ``total`` first; losses of weight 0 are left out.
    """
    weights = {"total": 1.0} | {n: float(parameters.get(f"{n}_weight", 0.0)) for n in TERMS}
    more = parameters.get("losses") or {}  # another version's record has none
    weights |= {name: float(weight) for name, weight in more.items()}
    values = [{**step, **(step.get("more") or {})} for step in losses]
    return {
        name: [weight * float(step.get(name) or 0.0) for step in values]
        for name, weight in weights.items()
        if weight > 0
    }


def _spectrogram(
    ax: Any, S: Array, fold: int, config: TransferConfig, scale: tuple[float, float]
) -> Any:
    from librosa.display import specshow

    S, step = few_columns(S)  # more columns than pixels cost minutes and show nothing
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
        vmin=scale[0],
        vmax=scale[1],
        ax=ax,
    )


def _loss_curves(ax: Any, result: TransferResult) -> None:
    steps = [iterate.step for iterate in result.history]
    history = [vars(iterate) for iterate in result.history]
    for name, values in loss_curves(history, result.config.to_dict()).items():
        style = "-" if name in LOSS_COLOURS else "--"  # a registered one has no colour of its own
        ax.plot(steps, values, style, label=name, color=LOSS_COLOURS.get(name), marker=".")
    ax.set_yscale("symlog", linthresh=1e-6)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(f"step (stopped: {result.stopped})")
    ax.set_ylabel("weighted loss")
    ax.grid(alpha=0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the curves, not on them
