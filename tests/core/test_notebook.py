"""Results in a notebook, by the display protocol of IPython: methods that return HTML and PNG."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from audiostyle.audio.buffer import AudioBuffer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import notebook
from audiostyle.core.transfer import TransferResult
from audiostyle.errors import ConfigError, OutputError
from audiostyle.events import Stage
from tests.conftest import SR, make_tones
from tests.support.fakes import iterate, make_result


def make(y: Any = None, **changes: Any) -> TransferResult:
    S = np.linspace(-80, 0, 64 * 900, dtype=np.float32).reshape(64, 900)
    spectrograms = {"S_content": S, "S_style": S[:, :50], "S_result": S}
    history = [iterate(step) for step in range(3)]
    values = {**spectrograms, "history": history, "matched": None, "y": y, **changes}
    return make_result(SR, TransferConfig(), AudioBuffer(1), **values)


class Elements(HTMLParser):
    """The elements of a document, each closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def data(self, tag: str) -> list[bytes]:
        uris = [str(attributes["src"]) for name, attributes in self.found if name == tag]
        assert all(uri.startswith("data:") for uri in uris)
        return [base64.b64decode(uri.partition(",")[2]) for uri in uris]


def test_a_cell_plays_the_result_and_shows_the_spectrograms() -> None:
    y = make_tones(2.0)
    elements = Elements(make(y)._repr_html_())
    (sound,) = elements.data("audio")
    played, sr = sf.read(io.BytesIO(sound))
    assert sr == SR and abs(len(played) / sr - 2.0) < 0.15  # an MP3 has padding
    level = [float(np.sqrt(np.mean(x**2))) for x in (y, played[: len(y)])]
    assert level[1] == pytest.approx(level[0], rel=0.1)
    sizes = [Image.open(io.BytesIO(image)).size for image in elements.data("img")]
    assert sizes == [(450, 64), (50, 64), (450, 64)]
    assert "2.0 s at 22050 Hz" in elements.text and "result" in elements.text


def test_a_cell_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a <b>.wav"
    sf.write(path, make_tones(), SR)
    elements = Elements(make(path=path)._repr_html_())
    assert len(elements.data("audio")) == 1 and "a <b>.wav" in elements.text
    monkeypatch.setattr(notebook, "MAX_SOUND_BYTES", 100)
    assert "too long" in Elements(make(path=path)._repr_html_()).text
    path.unlink()
    elements = Elements(make(path=path)._repr_html_())
    assert elements.data("audio") == [] and "no such file" in elements.text
    assert "has no audio" in Elements(make()._repr_html_()).text


def test_a_line_describes_the_result() -> None:
    text = repr(make(np.zeros((2, SR // 2), np.float32), path=Path("out.wav")))
    assert text == (
        "<TransferResult: 0.5 s at 22050 Hz, 2 iterations (iterations), loss 3 to 1, out.wav>"
    )
    assert "20.9 s" in repr(make())  # 900 frames of 512 samples


def test_save_writes_what_y_holds(tmp_path: Path) -> None:
    y = np.stack([make_tones(), -0.5 * make_tones()])
    result = make(y)
    assert result.save(tmp_path / "a.wav") == tmp_path / "a.wav"
    assert sf.info(tmp_path / "a.wav").subtype == "FLOAT"
    np.testing.assert_array_equal(sf.read(tmp_path / "a.wav", dtype="float32")[0].T, y)
    result.save(str(tmp_path / "b.flac"), "PCM_16")
    np.testing.assert_allclose(sf.read(tmp_path / "b.flac")[0].T, y, atol=1 / 32768)
    with pytest.raises(OutputError, match="exists already"):
        make(y[0]).save(tmp_path / "a.wav")
    make(y[0]).save(tmp_path / "a.wav", force=True)
    assert sf.info(tmp_path / "a.wav").channels == 1
    with pytest.raises(ConfigError, match="extension"):
        result.save(tmp_path / "a.xyz")
    make(path=tmp_path / "b.flac").save(tmp_path / "c.wav")
    copy, original = (sf.read(tmp_path / name)[0] for name in ("c.wav", "b.flac"))
    np.testing.assert_array_equal(copy, original)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.flac", "c.wav"]


def test_a_plot_shows_itself() -> None:
    figure = make().plot("a title")
    assert figure._suptitle.get_text() == "a title"
    assert Image.open(io.BytesIO(figure._repr_png_())).format == "PNG"


def test_the_bar_counts_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Bar:
        """Records what `tqdm` is told."""

        def __init__(self) -> None:
            self.n, self.total, self.lines = 0, None, []
            bars.append(self)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None:
            self.lines.append("closed")

        def reset(self, total: int) -> None:
            self.n, self.total = 0, total

        def update(self, n: int) -> None:
            self.n += n

        def set_description_str(self, text: str) -> None:
            self.lines.append(text)

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            self.lines.append(text)

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    got: list[Any] = []
    with notebook.progress_bar(lambda event: got.append(event) or len(got) == 4, True) as report:
        assert report is not None
        events = [
            Stage("style", "a"),
            *(replace(iterate(step), window=2, n_windows=2) for step in range(3)),
        ]
        assert [report(event) for event in events] == [False, False, False, True]
    (bar,) = bars
    assert got == events and (bar.n, bar.total) == (4, 4)
    assert bar.lines == ["style", "total 3", "total 2", "total 1", "closed"]
    with notebook.progress_bar(print, False) as report:
        assert report is print
