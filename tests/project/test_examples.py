from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.cli.main import cli
from audiostyle.config.transfer_config import PRESETS, TransferConfig

ROOT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["pluck", "strings"])
def test_the_bundled_clips_are_what_their_script_makes(name: str) -> None:
    script = load(ROOT / "examples" / "make_clips.py")
    made = {"pluck": script.content, "strings": script.style}[name]()
    committed, sr = sf.read(ROOT / "examples" / f"{name}.flac")
    assert sr == script.SR
    np.testing.assert_allclose(committed, made, atol=2 / 32768)


def test_the_python_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the transfer itself replaced: what is tested is that the example fits the API."""
    example = load(ROOT / "examples" / "transfer_arrays.py")
    calls: list[Any] = []

    def fake(content: Any, style: Any, sr: int, config: TransferConfig, callback: Any) -> Any:
        calls.append(config)
        return type("Result", (), {"y": content})()

    monkeypatch.setattr(audiostyle, "transfer", fake, raising=False)
    monkeypatch.setattr(example, "HERE", tmp_path / "examples")
    (tmp_path / "examples").mkdir()
    for name in ("pluck.flac", "strings.flac"):
        (tmp_path / "examples" / name).write_bytes((ROOT / "examples" / name).read_bytes())
    example.main()
    content, sr = sf.read(ROOT / "examples" / "pluck.flac")
    takes, _ = sf.read(tmp_path / "demo" / "arrays.wav")
    assert len(takes) == 3 * len(content)
    assert [config.strength for config in calls] == [0.5, 1.0]
    assert sr == 22050


def test_every_option_in_the_readme_exists() -> None:
    known = {
        name
        for command in [cli, *cli.commands.values()]
        for parameter in command.params
        for name in parameter.opts
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "audiostyle " in line]
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(lines)))
    assert used
    assert used - {"--help"} <= known


def test_every_preset_is_explained_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in text] == []


def test_every_relative_link_of_the_documentation_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
