"""A style in a file: what a transfer needs of a whole genre, without its clips.

An ``.npz`` of plain arrays (never pickled), of which ``about`` is JSON: where the style comes from,
and what it was analysed with. A style fits a transfer whose analysis is the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import audiostyle
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import StyleSamples
from audiostyle.core.style import AnalyzedStyle
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files import record, style_file_check
from audiostyle.files.request import StyleSource
from audiostyle.nn import weights
from audiostyle.utils import atomic_files, npz, safe_read

Array = npt.NDArray[Any]

SUFFIX = ".style.npz"
SCHEMA = 4  # 4: arrays are named after AnalyzedStyle; 3: bands overlap by half
SPECTROGRAM = ("sr", "n_fft", "hop_length", "n_mels", "mel_scale", "top_db")


@dataclass
class SavedStyle:
    """A style file that was read, and that fits.

    Attributes
    ----------
    path : Path
    about : dict
        As `describe_style` made it.
    arrays : dict of str to np.ndarray
    sha256 : str
        Of the file.
    """

    path: Path
    about: dict[str, Any]
    arrays: dict[str, Array]
    sha256: str

    def restore(self) -> AnalyzedStyle:
        """Put the style together again. Loads TensorFlow.

        Returns
        -------
        AnalyzedStyle
        """
        from audiostyle.nn.style_statistics import StyleStatistics

        target: StyleStatistics = self._restore("statistics", StyleStatistics)
        sound: StyleSamples = self._restore("samples", StyleSamples)
        return AnalyzedStyle(target, sound, self.arrays["S"])

    def _restore(self, owner: str, kind: Any) -> Any:
        values: dict[str, Any] = {}
        for name in _kept(kind):
            key = f"{owner}/{name}"
            if key in style_file_check.BY_LAYER:
                start = key + "/"
                values[name] = {
                    k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)
                }
            else:
                array = self.arrays[key]
                values[name] = array.item() if array.ndim == 0 else array
        return kind(**values)


def _kept(part: Any) -> list[str]:
    """Names of the fields that are not computed from the others."""
    return [f.name for f in dataclasses.fields(part) if not f.metadata.get("derived")]


def is_style_file(path: str | Path) -> bool:
    """Tell by its name whether a path is a style file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bool
    """
    return str(path).lower().endswith(SUFFIX)


def essentials(config: TransferConfig) -> dict[str, Any]:
    """Return the parameters that a style and the transfer that uses it must share.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    dict
        Of plain values. Weights of layers and of losses are not among them, but for whether those
        that need statistics of their own are 0.
    """
    values: dict[str, Any] = {
        "network": config.network,
        "style_layers": sorted(name for name, _ in config.style_layers),
        "bands": config.bands,
        "weights": weights.provenance(config.network, config.weights).get("sha256"),
    }
    for name in ("music_weight", "texture_weight"):  # what is not weighed was not listened to
        values[name] = "above 0" if getattr(config, name) > 0 else "0"
    if config.network == "vgg19":
        values["pooling"] = config.pooling
    if config.network in weights.SEEDED:
        values["seed"] = config.seed
    return values | {name: getattr(config, name) for name in SPECTROGRAM}


def describe_style(files: StyleSource, config: TransferConfig) -> dict[str, Any]:
    """Say what a style is made of, and with what.

    Parameters
    ----------
    files : StyleSource
        After they were read.
    config : TransferConfig

    Returns
    -------
    dict
    """
    described: dict[str, Any] = record.to_json_value(
        {
            "schema": SCHEMA,
            "audiostyle": audiostyle.__version__,
            "source": str(files.path),
            "clips": files.used,
            "skipped": files.skipped,
            "seconds": sum(clip["samples"] / clip["sr"] for clip in files.used),
            "notes": files.notes,
            "made_with": essentials(config),
            "parameters": config.to_dict(),
            "weights": weights.provenance(config.network, config.weights),
            "versions": record.package_versions("librosa", "numpy", "soundfile"),
        }
    )
    return described


def save_style(path: Path, heard: AnalyzedStyle, about: dict[str, Any]) -> None:
    """Write a style file; it appears whole or not at all.

    Parameters
    ----------
    path : Path
    heard : AnalyzedStyle
    about : dict
        From `describe_style`.

    Raises
    ------
    OutputError
    """
    arrays: dict[str, Array] = {"S": heard.S}
    for owner, part in (("statistics", heard.statistics), ("samples", heard.samples)):
        for name in _kept(part):
            key, value = f"{owner}/{name}", getattr(part, name)
            if isinstance(value, dict):
                arrays.update({f"{key}/{layer}": np.asarray(v) for layer, v in value.items()})
            else:
                arrays[key] = np.asarray(value)
    header = json.dumps(about, allow_nan=False).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.frombuffer(header, np.uint8), **arrays)  # type: ignore[arg-type]
    with atomic_files.Staging() as staging:
        staging.write(path, buffer.getvalue())
        staging.publish()


def load_style(path: Path, config: TransferConfig) -> SavedStyle:
    """Read a style file, and make sure that it fits a transfer. Needs no TensorFlow.

    Parameters
    ----------
    path : Path
    config : TransferConfig

    Returns
    -------
    SavedStyle

    Raises
    ------
    AudioFileError
        If it is missing, damaged, or no style file.
    ConfigError
        If it was made with another network, other layers, bands or another spectrogram.
    """
    try:
        data = safe_read.read_file(path)
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror}); check its path") from None
    try:
        arrays = npz.read_npz(data)
        about = json.loads(arrays.pop("about").tobytes())
        made_with, schema = dict(about["made_with"]), about["schema"]
        _check_clips(about)
    except Exception:  # on broken bytes, NumPy, zipfile and zlib raise a dozen kinds
        raise AudioFileError(
            f"{path}: is no style file, or is damaged; make it with: audiostyle style"
        ) from None
    if schema != SCHEMA:
        raise AudioFileError(
            f"{path}: has layout {schema}, this audiostyle reads {SCHEMA}; make it anew"
        )
    _check_fit(path, made_with, essentials(config))
    style_file_check.check_arrays(path, arrays, config, str(about["audiostyle"])[:20])
    return SavedStyle(path, about, arrays, hashlib.sha256(data).hexdigest())


def _check_clips(about: dict[str, Any]) -> None:
    """Make sure that what a record says of the clips is there. Raises whatever comes."""
    for clip in (*about["clips"], *about["skipped"]):
        if not isinstance(clip["path"], str):
            raise TypeError("a path is no text")
    if not all(isinstance(clip["sr"], int) and clip["sr"] > 0 for clip in about["clips"]):
        raise ValueError("a rate is no rate")
    _ = about["audiostyle"]


def _check_fit(path: Path, made: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name == "weights" and made.get(name) != value:
            raise ConfigError(
                f"{path}: was made with other weights of {wanted['network']}; give the same "
                "--weights, or make it anew"
            )
        if made.get(name) != value:
            theirs, ours = _shown(made.get(name)), _shown(value)
            raise ConfigError(
                f"{path}: was made with {name}={theirs}, which does not fit {name}={ours} here; "
                f"use --{name.replace('_', '-')} {theirs}, or make it anew"
            )


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
