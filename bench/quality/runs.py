"""Methods to measure, and their runs over pairs; every row is written to a CSV file at once."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import importlib.util
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

import audiostyle
from audiostyle.audio.reader import load_audio
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.errors import ConfigError
from bench.common import format_number

Array = npt.NDArray[Any]
Pair = TypeVar("Pair")

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Method:
    """Something that makes an output of a pair.

    `run` gets the pair, its content and style [shape=(n,)] and their rate, and returns the output
    [shape=(n,)]. `config` is None unless a transfer is run.
    """

    name: str  # as given on the command line
    run: Callable[[Any, Array, Array, int], Array]
    config: TransferConfig | None = None
    main: bool = True  # False for a strength that was added for the strength curve

    @property
    def strength(self) -> float | None:
        """Strength of the transfer."""
        return self.config.strength if self.config else None


@dataclass(frozen=True)
class Row:
    """Measures of one output."""

    pair: Any  # has content, style and name
    method: str  # name of the method, or of a baseline
    measures: dict[str, float]  # NaN where a measure does not apply
    strength: float | None = None  # None for a baseline
    main: bool = True


def read_methods(texts: Sequence[str], strengths: bool) -> list[Method]:
    """Read methods as the command line names them; with `strengths`, at all `STRENGTHS` as well.

    A method is a preset and changes to it (``balanced:bands=8,iterations=30``), a TOML file, a
    function (``module:name`` or ``path.py:name``), or a folder of outputs.
    """
    methods = []
    for text in dict.fromkeys(texts):
        head, colon, tail = text.rpartition(":")
        if Path(text).is_dir():
            methods.append(Method(text, _Outputs(Path(text))))
        elif text.endswith(".toml") or text.partition(":")[0] in PRESETS:
            config = parse_config(text)
            for strength in sorted({config.strength, *(STRENGTHS if strengths else ())}):
                varied = dataclasses.replace(config, strength=strength)
                main = strength == config.strength
                methods.append(Method(text, _transfer(varied), varied, main))
        elif colon:
            methods.append(Method(text, _function(head, tail)))
        else:
            raise ConfigError(
                f"{text!r} is neither a preset ({', '.join(PRESETS)}), a TOML file, a function "
                "such as module:name or path.py:name, nor a folder of outputs"
            )
    return methods


def parse_config(text: str) -> TransferConfig:
    """Read a TOML file, or a preset and its changes, such as ``balanced:bands=8,iterations=30``.

    A part that does not start with the name of a field continues the previous one:
    ``fast:style_layers=block1_conv1=1,block2_conv1=0.5``.
    """
    if text.endswith(".toml"):
        values = load_toml(text)
        return TransferConfig.from_preset(values.pop("preset", "balanced"), **values)
    preset, _, rest = text.partition(":")
    fields = {field.name for field in dataclasses.fields(TransferConfig)}
    overrides: dict[str, Any] = {}
    name = ""
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if name.endswith("_layers") and key not in fields:
            overrides[name] += f",{part}"
        elif equals:
            name = key
            overrides[name] = value
        else:
            raise ConfigError(f"{part!r} in {text!r} must be name=value")
    return TransferConfig.from_preset(preset, **overrides)


def _transfer(config: TransferConfig) -> Callable[[Any, Array, Array, int], Array]:
    """Keep the networks of a configuration loaded for all its pairs."""
    stylist = audiostyle.StyleTransfer(config)

    def run(pair: Any, content: Array, style: Array, sr: int) -> Array:
        y = stylist.transfer(content, style, sr).y
        assert y is not None
        return y

    return run


def _function(module: str, name: str) -> Callable[[Any, Array, Array, int], Array]:
    """Load a function of ``(content, style, sr)`` from a module or a file."""
    if module.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(module).stem, module)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded  # dataclasses look their module up
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(module)
    function = getattr(loaded, name, None)
    if not callable(function):
        raise ConfigError(f"{module} has no function {name!r}")
    return lambda pair, content, style, sr: np.asarray(function(content, style, sr), np.float32)


@dataclass(frozen=True)
class _Outputs:
    """Reads outputs from a folder: ``FOLDER/sampled/03 *.wav`` for pair 3 of the sampled pairs."""

    folder: Path

    def __call__(self, pair: Any, content: Array, style: Array, sr: int) -> Array:
        import librosa

        path = self.folder / output_name(pair)
        audio = load_audio(path)
        return np.asarray(librosa.resample(audio.y.mean(axis=0), orig_sr=audio.sr, target_sr=sr))


def output_name(pair: Any) -> str:
    """Name the output of a pair, relative to the folder of a method's outputs."""
    return f"{pair.kind}/{re.sub(r'[^A-Za-z0-9._-]+', '-', pair.name)}.wav"


def run_method(
    method: Method, pair: Any, content: Array, style: Array, sr: int, folder: Path
) -> tuple[Array, float]:
    """Run a method on a pair and write the output to a folder; return it and the seconds it took.

    The output is cut, or padded with silence, to the length of the content.
    """
    import librosa
    import soundfile as sf

    started = time.perf_counter()
    y = method.run(pair, content, style, sr)
    elapsed = time.perf_counter() - started
    y = np.asarray(librosa.util.fix_length(y, size=content.shape[-1]), np.float32)
    name = re.sub(r"[^A-Za-z0-9=,.]+", "-", method.name).strip("-")
    if method.strength is not None and not method.main:
        name += f"@{method.strength:g}"
    path = folder / "outputs" / name / output_name(pair)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, y, sr, subtype="FLOAT")
    return y, elapsed


def limit_pairs(pairs: list[Pair], limit: int | None) -> list[Pair]:
    """Keep at most `limit` pairs, evenly spread over the list."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).astype(int)]


def run_pairs(
    pairs: Sequence[Any],
    evaluate: Callable[[Any], Iterable[Row]],
    path: Path,
    shown: Sequence[str],
) -> list[Row]:
    """Evaluate all pairs; write every row to the CSV file, and the measures `shown` to stderr."""
    rows: list[Row] = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for i, pair in enumerate(pairs, 1):
            for row in evaluate(pair):
                if not rows:
                    names = ("pair", "content", "style", "method", "strength")
                    writer.writerow([*names, *row.measures])
                strength = "" if row.strength is None else f"{row.strength:g}"
                values = [format_number(value, 4) for value in row.measures.values()]
                writer.writerow(
                    [row.pair.name, row.pair.content, row.pair.style, row.method, strength, *values]
                )
                file.flush()
                rows.append(row)
                measures = "  ".join(
                    f"{name} {format_number(row.measures[name], 2)}"
                    for name in shown
                    if np.isfinite(row.measures.get(name, np.nan))
                )
                method = f"{row.method}@{strength}" if strength else row.method
                print(f"[{i}/{len(pairs)}] {row.pair.name}  {method}  {measures}", file=sys.stderr)
    return rows
