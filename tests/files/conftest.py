"""Fixtures for transfers of files: a small configuration, a saved style, a loaded network."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile as sf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import StyleTransfer
from audiostyle.files.transfer import make_style_file
from tests.conftest import SR, make_noise, make_tones


@pytest.fixture(scope="session")
def tiny() -> TransferConfig:
    return TransferConfig(
        precision="float32",
        n_fft=1024,
        hop_length=256,
        n_mels=64,
        bands=4,
        iterations=2,
        inversion_iterations=2,
        style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
    )


@pytest.fixture(scope="session")
def tiny_transfer(tiny: TransferConfig) -> StyleTransfer:
    """Keep the network loaded: results do not depend on what it did before."""
    return StyleTransfer(tiny)


@pytest.fixture(scope="session")
def genre(tmp_path_factory: pytest.TempPathFactory, tiny: TransferConfig) -> Path:
    """Save the style of a folder of three clips, one of them broken, and a text."""
    root = tmp_path_factory.mktemp("style")
    (root / "genre").mkdir()
    sf.write(root / "genre" / "a.wav", make_noise(1.2), SR)
    sf.write(root / "genre" / "b.wav", make_noise(0.8, 16_000, seed=1), 16_000)
    (root / "genre" / "c.wav").write_text("no sound")
    (root / "genre" / "notes.txt").touch()
    for i, base in enumerate((220.0, 330.0)):
        sf.write(root / f"content{i}.wav", make_tones(1.0, base=base), SR)
    make_style_file(root / "genre", root / "genre.style.npz", tiny)
    return root
