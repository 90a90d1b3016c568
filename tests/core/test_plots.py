from __future__ import annotations

import io

import numpy as np
from PIL import Image

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from tests.support import report_data


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
