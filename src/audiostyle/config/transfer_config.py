"""Parameters of a transfer: default, unit, bounds and help text of each.

The command line, TOML files, JSON records and the reference are generated from the fields of
`TransferConfig`. Imports neither TensorFlow nor librosa nor NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from audiostyle.config.fields import check_distinct, coerce, option
from audiostyle.config.registry import MAX_BANDS, NETWORKS, NetworkSpec, find_loss, find_network
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS
from audiostyle.utils.suggestions import check_choice

MIN_SECONDS = 0.5  # shorter clips have too few frames for style statistics
MAX_CHANNELS = 64  # more is a broken header, not audio
WEIGHT_BOUNDS = (0.0, 1e6)
ALIASES = {"alpha": "content_weight", "beta": "style_weight"}  # symbols of Gatys et al.


def _weight(default: float, help: str) -> Any:
    return option(default, "Style", help, bounds=WEIGHT_BOUNDS)


def _layers(loss: str) -> Any:
    help = f"Layers of the {loss} loss and their weights; for vgg19, conv4_2 is block4_conv2."
    return option((), "Network", help, metavar="NAME[=WEIGHT],...", weighs="layer")


@dataclass(frozen=True)
class TransferConfig:
    """All parameters that change the result of a transfer.

    Create one with `TransferConfig.from_preset`, or directly: the defaults are those of the preset
    `balanced`. Layers and bands that are not given take the defaults of the network.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, out of bounds, or an unknown name.
    """

    strength: float = option(
        1.0,
        "Style",
        "Amount of style, from the unchanged content (0) to the full style (1).",
        bounds=(0.0, 1.0),
    )
    content_weight: float = _weight(0.3, "Weight alpha of the content loss.")
    style_weight: float = _weight(1.0, "Weight beta of the style loss.")
    style_norm: str = option(
        "pair",
        "Style",
        "Scale of the style loss: relative to the distance between this content and this style, so "
        "that a weight means the same for every pair (pair), or to the energy of the style's "
        "statistics (target).",
        choices=("pair", "target"),
    )
    texture_weight: float = _weight(
        1.5,
        "Weight of the texture loss: how the levels of broad bands vary together and over time.",
    )
    music_weight: float = _weight(
        0.5, "Weight of the style loss of a second network, musicnn's VGG, trained on music."
    )
    pitch_weight: float = _weight(
        3.0, "Weight of the pitch loss: deviation of the partials from those of the content."
    )
    onset_weight: float = _weight(
        0.8, "Weight of the onset loss: deviation of the attacks from those of the content."
    )
    rhythm_weight: float = _weight(
        0.3, "Weight of the rhythm loss: deviation of the level over time from the content's."
    )
    style_statistic: str = option(
        "wasserstein",
        "Style",
        "Statistic of the activations to match: their distribution (Wasserstein-2 distance of "
        "means and covariances), their Gram matrix (the classic), or means and deviations only.",
        choices=("wasserstein", "gram", "moments"),
    )
    envelope_weight: float = _weight(
        0.0, "Weight of the temporal and spectral energy envelope losses (Verma & Smith 2018)."
    )
    losses: tuple[tuple[str, float], ...] = option(
        (),
        "Style",
        "Plugin losses and their weights, from --plugin or an installed package.",
        bounds=WEIGHT_BOUNDS,
        lookup=find_loss,
        metavar="NAME[=WEIGHT],...",
        weighs="loss",
    )
    network: str = option(
        "vgg19",
        "Network",
        "Network whose features are compared.",
        choices=tuple(NETWORKS),
        lookup=find_network,
    )
    content_layers: tuple[tuple[str, float], ...] = _layers("content")
    style_layers: tuple[tuple[str, float], ...] = _layers("style")
    bands: int = option(
        0,
        "Network",
        "Number of frequency bands, overlapping by half, with separate style statistics; "
        "1 is the classic algorithm, 0 the default of the network.",
        bounds=(0, MAX_BANDS),
    )
    pooling: str = option(
        "max", "Network", "Pooling between the blocks of VGG-19.", choices=("average", "max")
    )
    precision: str = option(
        "auto",
        "Network",
        "Precision of the convolutions; auto uses bfloat16 if the processor supports it.",
        choices=("auto", "float32", "bfloat16"),
    )
    weights: str | None = option(
        None,
        "Network",
        "Weights file to use instead of the built-in one: a converted .npz, or the VGG-19 of Keras "
        "(.h5, tf kernels, notop).",
        metavar="FILE",
    )
    init: str = option(
        "notes",
        "Optimisation",
        "Initial spectrogram: the levels that the style would have at the notes and onsets of the "
        "content (notes), the content, the style itself, or noise.",
        choices=("notes", "content", "style", "noise"),
    )
    optimizer: str = option(
        "lbfgs", "Optimisation", "Optimisation algorithm.", choices=("lbfgs", "adam")
    )
    iterations: int = option(
        20, "Optimisation", "Maximum number of iterations.", bounds=(0, 100_000)
    )
    learning_rate: float = option(
        0.02, "Optimisation", "Step size of Adam, as a share of the dB range.", bounds=(1e-6, 1.0)
    )
    tolerance: float = option(
        1e-3,
        "Optimisation",
        "Stop when five iterations together lower the total loss by less than this share; 0 stops "
        "only when no step lowers it.",
        bounds=(0.0, 1.0),
    )
    seed: int = option(
        0, "Optimisation", "Seed of noise and random filters.", bounds=(0, 2**31 - 1)
    )
    sr: int = option(
        22050,
        "Spectrogram",
        "Sample rate at which style is analysed and applied; content above half this rate is kept, "
        "and follows the level of the bands below.",
        unit="Hz",
        bounds=(4000, 192_000),
    )
    n_fft: int = option(
        2048, "Spectrogram", "Length of the STFT window.", unit="samples", bounds=(64, 65_536)
    )
    hop_length: int = option(
        512, "Spectrogram", "Hop length of the STFT.", unit="samples", bounds=(16, 32_768)
    )
    n_mels: int = option(
        256, "Spectrogram", "Number of mel bands.", unit="bands", bounds=(16, 2048)
    )
    mel_scale: str = option(
        "slaney", "Spectrogram", "Formula of the mel scale.", choices=("slaney", "htk")
    )
    top_db: float = option(
        80.0,
        "Spectrogram",
        "Dynamic range of the spectrogram; lower levels are treated as silence.",
        unit="dB",
        bounds=(20.0, 160.0),
    )
    inversion: str = option(
        "content",
        "Inversion",
        "Inversion of the spectrogram to audio: with the fine structure and phase of the content, "
        "or plain Griffin-Lim from random phase.",
        choices=("content", "griffinlim"),
    )
    inversion_iterations: int = option(
        48, "Inversion", "Iterations of Griffin-Lim.", bounds=(0, 10_000)
    )
    mix: float = option(
        1.0,
        "Inversion",
        "Share of the result in the output; the rest is the content, in phase unless the inversion "
        "is griffinlim.",
        bounds=(0.0, 1.0),
    )

    def __post_init__(self) -> None:
        """Convert and check all values, and fill in the defaults of the network."""
        for field in dataclasses.fields(self):
            value = coerce(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        spec = NETWORKS[self.network]
        for name in ("content_layers", "style_layers"):
            layers = tuple((spec.aliases.get(one, one), w) for one, w in getattr(self, name))
            check_distinct(name, layers, "layer")
            object.__setattr__(self, name, layers)
        for name, default in (
            ("content_layers", spec.content),
            ("style_layers", spec.style),
            ("bands", spec.bands),
        ):
            if not getattr(self, name):
                object.__setattr__(self, name, default)
        self._check_combination(spec)

    def _check_combination(self, spec: NetworkSpec) -> None:
        for part in ("content", "style"):
            layers = getattr(self, f"{part}_layers")
            for layer, _ in layers:
                _check_layer(self.network, spec, layer)
            if getattr(self, f"{part}_weight") > 0 and not any(weight for _, weight in layers):
                raise ConfigError(
                    f"{part}_layers: all weights are 0; raise one, or use {part}_weight=0"
                )
        if self.network == "random-1d" and self.bands != 1:
            raise ConfigError(
                f"bands={self.bands} does not fit network=random-1d, which takes frequency as "
                "channels: use bands=1, or another network"
            )
        if self.weights is not None and spec.build is not None and not spec.takes_weights:
            raise ConfigError(f"weights={self.weights}: {self.network} takes none; omit --weights")
        if self.bands > self.n_mels:
            raise ConfigError(f"bands={self.bands} must be at most n_mels={self.n_mels}")
        if self.hop_length > self.n_fft // 2:
            raise ConfigError(
                f"hop_length={self.hop_length} must be at most n_fft/2={self.n_fft // 2}, so that "
                "the windows overlap enough for the inversion"
            )
        if self.n_mels > self.n_fft // 2:
            raise ConfigError(
                f"n_mels={self.n_mels} must be at most n_fft/2={self.n_fft // 2}: raise n_fft or "
                "lower n_mels"
            )
        if not any(self.loss_weights.values()):
            names = [f"{term}_weight" for term in TERMS]
            raise ConfigError(f"{', '.join(names)} are all 0: nothing to optimise")

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights of all `TERMS` in order, then of the `losses` with a weight above 0."""
        weights = {term: float(getattr(self, f"{term}_weight")) for term in TERMS}
        return weights | {name: weight for name, weight in self.losses if weight > 0}

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> TransferConfig:
        """Create a configuration from a preset.

        Parameters
        ----------
        preset : str
            A key of `PRESETS`.
        **overrides
            Fields of `TransferConfig` that differ. A network other than the preset's uses its own
            default layers unless layers are given.

        Raises
        ------
        ConfigError
            If the preset or a field is unknown, or a value is out of bounds.
        """
        values = dict(PRESETS[check_choice("preset", preset, PRESETS)])
        names = [field.name for field in dataclasses.fields(cls)]
        for name in overrides:
            check_choice("parameter", name, names)
        network = values.get("network", "vgg19")
        if overrides.get("network", network) != network:
            for name in ("content_layers", "style_layers"):
                values.pop(name, None)
        return cls(**{**values, **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values for JSON and TOML."""
        values = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if field.metadata["weighs"]:
                values[field.name] = dict(values[field.name])
        return values


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"music_weight": 0.0, "iterations": 10},
    "balanced": {},
    "classic": {
        "content_weight": 1.0,
        "style_norm": "target",
        **{f"{term}_weight": 0.0 for term in TERMS[2:]},
        "style_statistic": "gram",
        "content_layers": (("block4_conv2", 1.0),),
        "style_layers": tuple((f"block{i}_conv1", 0.2) for i in range(1, 6)),
        "bands": 1,
        "pooling": "average",
        "init": "noise",
        "iterations": 100,
        "inversion": "griffinlim",
        "inversion_iterations": 100,
    },
}

DEFAULT_PRESET = "balanced"
PRESET_HELP: dict[str, str] = {
    "fast": "half the iterations, no second network",
    "balanced": "the default",
    "classic": "the algorithm of Gatys et al., without additions",
}


def resolve_alias(name: str) -> str:
    """Return the name of a parameter that may be given by one of `ALIASES`."""
    return ALIASES.get(name, name)


def changed_parameters(parameters: Mapping[str, Any], preset: str | None) -> dict[str, Any]:
    """Return the parameters, as in a record, that differ from those of a preset."""
    base = preset_parameters(preset)
    return {name: value for name, value in parameters.items() if base.get(name) != value}


@cache
def preset_parameters(preset: str | None) -> dict[str, Any]:
    """Return the parameters of a preset; those of the default if it is not known here."""
    return TransferConfig.from_preset(preset if preset in PRESETS else "balanced").to_dict()


def _check_layer(network: str, spec: NetworkSpec, layer: str) -> None:
    if spec.layers:
        check_choice(f"layer of {network}", layer, spec.layers)
    elif not (layer.startswith("width") and layer[5:].isdecimal() and 1 <= int(layer[5:]) <= 512):
        raise ConfigError(
            f"layer {layer!r} of {network} must be widthN, N from 1 to 512 frames, such as width11"
        )
