"""Every parameter of a transfer: default, unit, bounds and help text, each in this one place.

The command line, the TOML files, the sidecar and the documentation are all generated from the fields
of `TransferConfig`. This module imports neither TensorFlow nor librosa nor NumPy.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError

LayerWeights = tuple[tuple[str, float], ...]

MIN_SECONDS = 0.5  # shorter clips hold too few frames for the statistics of a style
MAX_CHANNELS = 64  # more is a broken header, not a recording


@dataclass(frozen=True)
class NetworkSpec:
    """What a network offers, and what suits it best.

    Attributes
    ----------
    layers : tuple of str
        Layers in forward order; empty where names are patterns (`random-1d`).
    content, style : tuple of (str, float)
        Default layers and their weights.
    bands : int
        Default number of frequency bands of the Gram matrices.
    """

    layers: tuple[str, ...]
    content: LayerWeights
    style: LayerWeights
    bands: int


VGG19_LAYERS = tuple(
    f"block{block}_conv{conv}"
    for block, n_convs in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))
    for conv in range(1, n_convs + 1)
)

NETWORKS: dict[str, NetworkSpec] = {
    "vgg19": NetworkSpec(
        VGG19_LAYERS,
        (("block2_conv1", 1.0),),
        (("block1_conv1", 1.0), ("block2_conv1", 1.0), ("block3_conv1", 1.0)),
        16,
    ),
    "musicnn-vgg": NetworkSpec(
        tuple(f"conv{i}" for i in range(1, 6)),
        (("conv2", 1.0),),
        (("conv1", 1.0), ("conv2", 1.0), ("conv3", 1.0)),
        6,
    ),
    "random-1d": NetworkSpec((), (("width11", 1.0),), (("width11", 1.0),), 1),
}


def _option(
    default: Any,
    group: str,
    help: str,
    *,
    unit: str = "",
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    metavar: str = "",
) -> Any:
    metadata = {
        "group": group,
        "help": help,
        "unit": unit,
        "bounds": bounds,
        "choices": choices,
        "metavar": metavar,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TransferConfig:
    """Every parameter that changes the result of a transfer.

    Make one with `TransferConfig.from_preset`, or directly: the defaults are the preset `balanced`.
    Layers and bands that are not given take the defaults of the network.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, outside its bounds, or not a known name.
    """

    strength: float = _option(
        1.0,
        "Style",
        "How far to go from the content (0: the content itself) to the full style (1).",
        bounds=(0.0, 1.0),
    )
    content_weight: float = _option(
        1.0, "Style", "Weight alpha of the content loss.", bounds=(0.0, 1e6)
    )
    style_weight: float = _option(1.0, "Style", "Weight beta of the style loss.", bounds=(0.0, 1e6))
    envelope_weight: float = _option(
        0.0,
        "Style",
        "Weight of the temporal and spectral energy-envelope losses (Verma & Smith 2018).",
        bounds=(0.0, 1e6),
    )
    network: str = _option(
        "vgg19", "Network", "Network whose features are compared.", choices=tuple(NETWORKS)
    )
    content_layers: LayerWeights = _option(
        (), "Network", "Layers of the content loss with their weights.", metavar="NAME[=WEIGHT],..."
    )
    style_layers: LayerWeights = _option(
        (), "Network", "Layers of the style loss with their weights.", metavar="NAME[=WEIGHT],..."
    )
    bands: int = _option(
        0,
        "Network",
        "Frequency bands that get a Gram matrix each; 1 is the classic algorithm, 0 the network's "
        "own default.",
        bounds=(0, 256),
    )
    pooling: str = _option(
        "max", "Network", "Pooling between the blocks of VGG-19.", choices=("average", "max")
    )
    precision: str = _option(
        "auto",
        "Network",
        "Arithmetic of the convolutions; auto takes bfloat16 where the processor has it.",
        choices=("auto", "float32", "bfloat16"),
    )
    weights: str | None = _option(
        None,
        "Network",
        "Weights file instead of the one that ships: a converted .npz, or Keras' own "
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5.",
        metavar="FILE",
    )
    init: str = _option(
        "envelope",
        "Descent",
        "Where the descent starts: the content, the content with the style's spectral envelope, "
        "the style, or noise.",
        choices=("content", "envelope", "style", "noise"),
    )
    optimizer: str = _option("lbfgs", "Descent", "Method of the descent.", choices=("lbfgs", "adam"))
    iterations: int = _option(
        20, "Descent", "Most steps of the descent.", unit="steps", bounds=(0, 100_000)
    )
    learning_rate: float = _option(
        0.02,
        "Descent",
        "Step size of Adam, as a share of the dB range.",
        bounds=(1e-6, 1.0),
    )
    tolerance: float = _option(
        1e-3,
        "Descent",
        "Stop when five steps together lower the total loss by less than this share; 0 never stops "
        "early.",
        bounds=(0.0, 1.0),
    )
    seed: int = _option(
        0, "Descent", "Seed of noise and of random filters.", bounds=(0, 2**31 - 1)
    )
    sr: int = _option(
        22050,
        "Spectrogram",
        "Rate at which style is analysed and applied; what the content has above half of it is "
        "kept, and follows the level of the bands below.",
        unit="Hz",
        bounds=(4000, 192_000),
    )
    n_fft: int = _option(
        2048, "Spectrogram", "Length of the STFT window.", unit="samples", bounds=(64, 65_536)
    )
    hop_length: int = _option(
        512, "Spectrogram", "Step of the STFT window.", unit="samples", bounds=(16, 32_768)
    )
    n_mels: int = _option(256, "Spectrogram", "Mel bands.", unit="bands", bounds=(16, 2048))
    mel_scale: str = _option(
        "slaney", "Spectrogram", "Formula of the mel scale.", choices=("slaney", "htk")
    )
    top_db: float = _option(
        80.0,
        "Spectrogram",
        "Dynamic range of the spectrogram; what lies below is treated as silence.",
        unit="dB",
        bounds=(20.0, 160.0),
    )
    inversion: str = _option(
        "content",
        "Inversion",
        "How the spectrogram becomes sound: from the content's own fine structure and phase, or by "
        "plain Griffin-Lim from random phase.",
        choices=("content", "griffinlim"),
    )
    inversion_iterations: int = _option(
        32, "Inversion", "Iterations of Griffin-Lim.", unit="iterations", bounds=(0, 10_000)
    )

    def __post_init__(self) -> None:
        """Bring every value to its type, check it, and fill in the defaults of the network."""
        for option in dataclasses.fields(self):
            value = _coerce(option, getattr(self, option.name))
            object.__setattr__(self, option.name, value)
        spec = NETWORKS[self.network]
        for name, default in (
            ("content_layers", spec.content),
            ("style_layers", spec.style),
            ("bands", spec.bands),
        ):
            if not getattr(self, name):
                object.__setattr__(self, name, default)
        self._check_together(spec)

    def _check_together(self, spec: NetworkSpec) -> None:
        for name in ("content_layers", "style_layers"):
            for layer, _ in getattr(self, name):
                _check_layer(self.network, spec, layer)
        if self.network == "random-1d" and self.bands != 1:
            raise ConfigError(
                f"bands={self.bands} does not fit network=random-1d, which takes frequency as "
                "channels: use bands=1, or another network"
            )
        if self.bands > self.n_mels:
            raise ConfigError(f"bands={self.bands} must be at most n_mels={self.n_mels}")
        if self.hop_length > self.n_fft // 2:
            raise ConfigError(
                f"hop_length={self.hop_length} must be at most n_fft/2={self.n_fft // 2}, or the "
                "windows do not overlap enough to be inverted"
            )
        if self.n_mels > self.n_fft // 2:
            raise ConfigError(
                f"n_mels={self.n_mels} must be at most n_fft/2={self.n_fft // 2}: raise n_fft or "
                "lower n_mels"
            )
        if self.content_weight == 0 and self.style_weight == 0 and self.envelope_weight == 0:
            raise ConfigError(
                "content_weight, style_weight and envelope_weight are all 0: nothing to optimise"
            )

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> TransferConfig:
        """Make a configuration from a preset and what differs from it.

        Parameters
        ----------
        preset : str
            A key of `PRESETS`.
        **overrides
            Fields of `TransferConfig`. A network other than the preset's brings its own layers and
            bands, unless they are given too.

        Returns
        -------
        TransferConfig

        Raises
        ------
        ConfigError
            If the preset or a field is not known, or a value is out of bounds.
        """
        values = dict(PRESETS[known("preset", preset, PRESETS)])
        names = [option.name for option in dataclasses.fields(cls)]
        for name in overrides:
            known("parameter", name, names)
        if overrides.get("network", values.get("network", "vgg19")) != values.get("network", "vgg19"):
            for name in ("content_layers", "style_layers", "bands"):
                values.pop(name, None)
        return cls(**{**values, **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values that JSON and TOML can hold."""
        values = dataclasses.asdict(self)
        for name in ("content_layers", "style_layers"):
            values[name] = dict(values[name])
        return values


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "style_layers": (("block1_conv1", 1.0), ("block2_conv1", 1.0)),
        "iterations": 10,
    },
    "balanced": {},
    "best": {"iterations": 60},
    "classic": {
        "content_layers": (("block4_conv2", 1.0),),
        "style_layers": tuple((f"block{i}_conv1", 0.2) for i in range(1, 6)),
        "bands": 1,
        "init": "content",
        "iterations": 100,
        "inversion": "griffinlim",
        "inversion_iterations": 100,
    },
}

PRESET_HELP: dict[str, str] = {
    "fast": "fewer layers and steps",
    "balanced": "the default",
    "best": "more steps",
    "classic": "the textbook algorithm of Gatys et al. and nothing else",
}


def known(what: str, name: str, names: Any) -> str:
    """Return `name` if it is one of `names`, or raise with the closest match.

    Parameters
    ----------
    what : str
        What is named, for the message.
    name : str
        The name to look up.
    names : iterable of str
        The names that exist.

    Returns
    -------
    str
        `name` itself.

    Raises
    ------
    ConfigError
        If `name` is not in `names`.
    """
    names = list(names)
    if name in names:
        return name
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "choose from " + ", ".join(names)
    raise ConfigError(f"{what} {name!r} is not known: {hint}")


def parse_layers(value: str) -> LayerWeights:
    """Read ``"block1_conv1=1,block2_conv1=0.5"``; a layer without a weight has weight 1.

    Parameters
    ----------
    value : str
        Comma-separated layers.

    Returns
    -------
    tuple of (str, float)

    Raises
    ------
    ConfigError
        If a weight is not a number.
    """
    layers = []
    for part in filter(None, (p.strip() for p in value.split(","))):
        name, _, weight = part.partition("=")
        try:
            layers.append((name.strip(), float(weight) if weight else 1.0))
        except ValueError:
            raise ConfigError(f"layer weight {weight!r} in {part!r} is not a number") from None
    return tuple(layers)


def load_toml(path: str | Path) -> dict[str, Any]:
    """Read a configuration file: fields of `TransferConfig`, and optionally ``preset``.

    Parameters
    ----------
    path : str or Path
        A TOML file.

    Returns
    -------
    dict
        Values as written, with ``preset`` among them if it was there.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or holds an unknown key.
    """
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from None
    names = ["preset", *(option.name for option in dataclasses.fields(TransferConfig))]
    for name in values:
        try:
            known("parameter", name, names)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return dict(values)


def _check_layer(network: str, spec: NetworkSpec, layer: str) -> None:
    if spec.layers:
        known(f"layer of {network}", layer, spec.layers)
    elif not (layer.startswith("width") and layer[5:].isdigit() and 1 <= int(layer[5:]) <= 512):
        raise ConfigError(
            f"layer {layer!r} of {network} must be widthN with N frames from 1 to 512, as width11"
        )


def _coerce(option: dataclasses.Field[Any], value: Any) -> Any:
    name, metadata = option.name, option.metadata
    if name in ("content_layers", "style_layers"):
        return _coerce_layers(name, value)
    if metadata["choices"]:
        return known(name, value, metadata["choices"])
    if metadata["bounds"]:
        return _coerce_number(name, value, option.type == "int", metadata)
    if value is not None and not isinstance(value, (str, Path)):
        raise ConfigError(f"{name}={value!r} must be a path")
    return None if value is None else str(value)


def _coerce_layers(name: str, value: Any) -> LayerWeights:
    if isinstance(value, str):
        value = parse_layers(value)
    elif isinstance(value, Mapping):
        value = tuple(value.items())
    try:
        layers = tuple(
            (layer, 1.0) if isinstance(layer, str) else (str(layer[0]), float(layer[1]))
            for layer in value
        )
    except (TypeError, ValueError, IndexError):
        raise ConfigError(
            f"{name}={value!r} must be names, or names with weights: 'block1_conv1=1'"
        ) from None
    for layer, weight in layers:
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"{name}: weight {weight} of {layer} must be finite and at least 0")
    if len({layer for layer, _ in layers}) < len(layers):
        raise ConfigError(f"{name}={value!r} names a layer twice")
    return layers


def _coerce_number(name: str, value: Any, integer: bool, metadata: Mapping[str, Any]) -> float | int:
    low, high = metadata["bounds"]
    unit = f" {metadata['unit']}" if metadata["unit"] else ""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}={value!r} must be a number") from None
    if integer and (not math.isfinite(number) or number != int(number)):
        raise ConfigError(f"{name}={value!r} must be a whole number")
    if not low <= number <= high:
        raise ConfigError(f"{name}={value} must be from {low:g} to {high:g}{unit}")
    return int(number) if integer else number
