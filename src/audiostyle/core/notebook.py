"""How a result shows itself in a notebook, and the progress bar of the public functions."""

from __future__ import annotations

import base64
import contextlib
import html
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from audiostyle.audio import writer
from audiostyle.core import plots
from audiostyle.errors import AudioFileError
from audiostyle.events import Callback, Iteration, Stage

if TYPE_CHECKING:
    from audiostyle.core.transfer import TransferResult

MAX_SOUND_BYTES = 8_000_000  # in a cell; more than 10 minutes
IMAGE_SIZE = (480, 128)  # columns and bands of a spectrogram


def result_html(result: TransferResult, open_sound: Callable[[], Any]) -> str:
    """Make the cell of a result: a player, and the spectrograms on one dB scale."""
    spectrograms = {"content": result.S_content, "style": result.S_style, "result": result.S_result}
    scale = plots.shared_range(list(spectrograms.values()), result.config)
    pictures = []
    for name, S in spectrograms.items():
        columns, _ = plots.average_columns(S, IMAGE_SIZE[0])
        uri = _data_uri(*plots.spectrogram_image(columns, scale, IMAGE_SIZE))
        pictures.append(
            f'<figure style="flex:1;margin:0"><img src="{uri}" alt="Mel spectrogram of the {name}" '
            f'style="width:100%;height:8em"><figcaption>{name}</figcaption></figure>'
        )
    return (
        '<figure style="max-width:60em;margin:0">'
        f"<figcaption>{html.escape(repr(result)[1:-1])}</figcaption>{_player(open_sound)}"
        f'<div style="display:flex;gap:.5em">{"".join(pictures)}</div></figure>'
    )


def _player(open_sound: Callable[[], Any]) -> str:
    try:
        sound = open_sound()
        encoded = writer.encode_compact(sound.blocks(), sound.sr, sound.channels, MAX_SOUND_BYTES)
    except (AudioFileError, ValueError) as error:
        return f"<p>{html.escape(str(error))}</p>"
    if encoded is None:
        return "<p>The sound is too long for a notebook: save it, and play the file.</p>"
    return f'<audio controls src="{_data_uri(*encoded)}" style="width:100%"></audio>'


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@contextlib.contextmanager
def progress_bar(callback: Callback | None, show: bool) -> Iterator[Callback | None]:
    """Yield a callback that also moves a bar of tqdm, which suits a notebook or a terminal."""
    if not show:
        yield callback
        return
    from tqdm.auto import tqdm

    with tqdm() as bar:

        def report(event: Stage | Iteration) -> Any:
            if isinstance(event, Stage):
                bar.set_description_str(event.name)
            else:
                total = event.n_steps * event.n_windows
                if bar.total != total:
                    bar.reset(total)
                bar.set_postfix_str(f"total {event.total:.4g}", refresh=False)
                bar.update(round(event.done * total) - bar.n)
            return callback(event) if callback is not None else None

        yield report
