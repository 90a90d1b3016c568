from __future__ import annotations

import ast
import importlib.util
import re
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.cli.main import cli
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.core.transfer import StyleTransfer, TransferResult
from tests.support.fakes import iterate, make_result

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


def test_the_notebook_example_shows_its_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Run cell by cell, as a notebook does, with the transfer itself replaced."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    bars: list[bool] = []

    def fake(self: Any, content: Any, style: Any, sr: int, *_: Any, **__: Any) -> TransferResult:
        S = np.full((64, 100), -20.0, np.float32)
        spectrograms = {"S_content": S, "S_style": S, "S_result": S}
        history = [iterate(step) for step in range(3)]
        values = {**spectrograms, "history": history, "y": content, "matched": None}
        return make_result(sr, self.config, AudioBuffer(1), **values)

    monkeypatch.setattr(StyleTransfer, "transfer", fake)
    monkeypatch.setattr("tqdm.auto.tqdm", lambda: bars.append(True) or nullcontext())
    cells = (ROOT / "examples" / "notebook.py").read_text().split("# %%\n")[1:]
    names: dict[str, Any] = {}
    shown = []
    for cell in cells:
        *body, last = ast.parse(cell).body
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
    result, figure, take, path = shown
    takes = names["takes"]
    assert take is takes[0.4]
    assert "<audio " in result._repr_html_() and bars == [True]
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert [take.config.strength for take in takes.values()] == [0.4, 1.0]
    np.testing.assert_array_equal(sf.read(path, dtype="float32")[0], takes[0.4].y)


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
