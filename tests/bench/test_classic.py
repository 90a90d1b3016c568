from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from audiostyle.audio.buffer import AudioBuffer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.sweep import Take
from bench import classic
from tests.conftest import SR, make_noise, make_tones
from tests.support.fakes import iterate, make_result


def make_trial(row: str, score: float, vary: str = "", **changes: Any) -> classic.Trial:
    """Make a trial whose spectrogram is constant, at a level that depends on the score."""
    config = TransferConfig.from_preset("classic", **changes)
    S = np.full((16, 30), -80 * (1 - score), np.float32)
    values = {"history": [iterate(2)], "S_result": S, "matched": None}
    take = Take({vary: None}, make_result(SR, config, AudioBuffer(1), **values))
    return classic.Trial(row, classic.label(take), take, dict.fromkeys(classic.MEASURES, score))


def test_the_experiments_differ_from_the_preset_in_what_they_vary_only() -> None:
    preset = TransferConfig.from_preset("classic")
    for row, vary, fixed in classic.experiments(preset.iterations):
        (name,) = vary
        configs = [TransferConfig.from_preset("classic", **fixed, **{name: v}) for v in vary[name]]
        changed = {
            key
            for config in configs
            for key, value in config.to_dict().items()
            if value != preset.to_dict()[key]
        }
        assert changed <= {name, *fixed}, row
        assert len(set(configs)) == len(configs) >= 2


def test_table_and_figure_contain_every_take(tmp_path: Path) -> None:
    layers = "block1_conv1,block2_conv1,block3_conv1"
    trials = [
        make_trial("inversion alone", 0.0, "init", init="content", iterations=0),
        make_trial("from noise", 0.25, "content_weight", content_weight=0.1),
        make_trial("from noise", 0.5, "content_weight", content_weight=10.0),
        make_trial("from content", 0.75, "content_weight", init="content"),
        make_trial("style layers", 1.0, "style_layers", style_layers=layers),
    ]
    text = classic.write_tables(trials, tmp_path / "x", 3.0)
    lines = text.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:7]] == [
        "| the content, inverted",
        "| from noise, alpha/beta = 0.1",
        "| from noise, alpha/beta = 10",
        "| from content, alpha/beta = 1",
        "| block1_conv1 to block3_conv1",
    ]
    assert lines[3].endswith("| 2 | 0.5000 | 0.5000 | 0.25 | 0.25 | 0.25 |")
    with (tmp_path / "x.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == ["0.0", "0.25", "0.5", "0.75", "1.0"]
    assert rows[4]["style_layers"] == layers.replace(",", " ")

    figure = classic.draw(trials)
    shown = [float(ax.images[0].get_array().mean()) for ax in figure.axes if ax.images]
    assert shown == [-80.0, -60.0, -40.0, -20.0, 0.0]
    scores = [[*line.get_ydata()] for line in figure.axes[-figure_width(figure)].lines]
    assert scores == [[0.0], [0.25, 0.5], [0.75], [1.0]]
    classic.write_png(figure, tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").mode == "P"


def figure_width(figure: Any) -> int:
    """Return the number of columns of the figure."""
    return int(figure.axes[0].get_gridspec().ncols)


@pytest.mark.slow
def test_a_tiny_run_writes_what_the_page_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two takes of a second; their sound is that of their parameters."""
    monkeypatch.setattr(classic, "RATIOS", (1.0,))
    monkeypatch.setattr(classic, "LAYERS", classic.LAYERS[:2])
    for name, y in (("content", make_tones(2.0)), ("style", make_noise(2.0))):
        sf.write(tmp_path / f"{name}.wav", y, SR)
    clips = [str(tmp_path / f"{name}.wav") for name in ("content", "style")]
    options = ["-o", str(tmp_path / "out"), "--seconds", "1", "--iterations", "1"]
    assert classic.main([*clips, *options]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = {row["take"]: row for row in csv.DictReader(file)}
    assert [row["iterations"] for row in rows.values()] == ["0", "0", "1", "1", "1"]
    assert float(rows["the content, inverted"]["content"]) > 0.9
    assert float(rows["the style, inverted"]["style"]) > 0.9
    assert {float(row["L_content"]) for row in rows.values()} > {0.0}
    sounds = sorted((tmp_path / "out").glob("*.wav"))
    assert len(sounds) == 5
    assert {sf.info(sound).frames for sound in sounds} == {22_050}
    assert "from noise, alpha/beta = 1" in (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "score" in capsys.readouterr().out
    assert Image.open(tmp_path / "out.png").size[0] >= 800
