from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from audiostyle.audio.buffer import AudioBuffer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.events import TERMS, Iteration
from tests.conftest import SR
from tests.support import report_data
from tests.support.fakes import make_result


def test_an_image_has_one_pixel_per_value_and_low_frequencies_at_the_bottom() -> None:
    S = np.linspace(-80, 0, 64 * 100, dtype=np.float32).reshape(64, 100)
    media_type, data = plots.spectrogram_image(S, (-80.0, 0.0))
    image = Image.open(io.BytesIO(data))
    assert (media_type, image.size) == ("image/png", (100, 64))
    pixels = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels[-1, 0], plots.colors()[0])
    np.testing.assert_array_equal(pixels[0, -1], plots.colors()[255])
    media_type, data = plots.spectrogram_image(S, (-80.0, 0.0), (50, 16))
    assert Image.open(io.BytesIO(data)).size == (50, 16)


def test_losses_are_weighted_as_in_the_total() -> None:
    losses = report_data.make_losses(3, 4.0)
    config = TransferConfig(content_weight=0.5, style_weight=2.0, music_weight=0.0)
    curves = plots.loss_curves(losses, config.to_dict())
    assert next(iter(curves)) == "total"
    assert "music" not in curves
    assert curves["content"] == [0.5, 0.25, 0.125]
    assert curves["style"] == [2.0, 1.0, 0.5]


def test_a_plot_of_any_name_and_length() -> None:
    """File names are not parsed as mathematics; long files are drawn as fast as short ones."""
    rng = np.random.default_rng(0)
    S = rng.uniform(-80, 0, (64, 10 * plots.MAX_COLUMNS + 3)).astype(np.float32)
    spectrograms = {"S_content": S, "S_style": S[:, :9], "S_result": S}
    losses = {"layers": {}, "seconds": 0.1, **dict.fromkeys(TERMS, 0.0)}
    history = [Iteration(step=i, n_steps=2, total=3.0 - i, **losses) for i in (0, 1)]
    result = make_result(SR, TransferConfig(), AudioBuffer(1), history=history, **spectrograms)
    figure = plots.transfer_figure(result, "$x_^{$ in the style of 日本 \udc80 " + 200 * "n")
    png = plots.transfer_png(result, "$x_^{$ in the style of 日本 \udc80 " + 200 * "n")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    content, style, _, _, curves = figure.axes  # the result and the colour bar are between
    assert content.get_title() == "content"
    mesh = content.collections[0]
    assert mesh.get_array().shape[1] <= plots.MAX_COLUMNS
    # Each drawn column is a mean over columns of the spectrogram, the last one included.
    step = -(-S.shape[1] // plots.MAX_COLUMNS)
    drawn = np.asarray(mesh.get_array())
    np.testing.assert_allclose(drawn[:, 0], S[:, :step].mean(axis=1), rtol=1e-4)
    last = S[:, (drawn.shape[1] - 1) * step :]
    np.testing.assert_allclose(drawn[:, -1], last.mean(axis=1), rtol=1e-4)
    # The axis covers the whole length.
    seconds = S.shape[1] * 512 / SR
    assert content.get_xlim()[1] == pytest.approx(seconds, rel=0.01)
    assert style.collections[0].get_array().shape[1] == 9
    assert {line.get_label() for line in curves.lines} == {"total", *TERMS} - {"envelope"}
    total = next(line for line in curves.lines if line.get_label() == "total")
    assert list(total.get_ydata()) == [3.0, 2.0]
