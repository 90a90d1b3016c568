"""Every parameter of a transfer: default, unit, bounds and help text, each in this one place.

The command line, the TOML files, the sidecar and the documentation are all generated from the
fields of `TransferConfig`. This module imports neither TensorFlow nor librosa nor NumPy.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from audiostyle.config.fields import check_choice, coerce, option
from audiostyle.config.loss_specs import find_loss
from audiostyle.config.network_specs import NETWORKS, NetworkSpec, find_network
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS

MIN_SECONDS = 0.5  # shorter clips hold too few frames for the statistics of a style
MAX_CHANNELS = 64  # more is a broken header, not a recording


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

    strength: float = option(
        1.0,
        "Style",
        "How far to go from the content (0: the content itself) to the full style (1).",
        bounds=(0.0, 1.0),
    )
    content_weight: float = option(
        0.3, "Style", "Weight alpha of the content loss.", bounds=(0.0, 1e6)
    )
    style_weight: float = option(1.0, "Style", "Weight beta of the style loss.", bounds=(0.0, 1e6))
    style_norm: str = option(
        "pair",
        "Style",
        "What the style loss is relative to: the distance of this content from this style, so that "
        "a weight means the same for every pair, or the energy of the target.",
        choices=("pair", "target"),
    )
    texture_weight: float = option(
        1.0,
        "Style",
        "Weight of the texture loss: how the levels of broad bands move, together and in time.",
        bounds=(0.0, 1e6),
    )
    music_weight: float = option(
        0.5,
        "Style",
        "Weight of the style loss of a second network, musicnn's VGG, which learned from music.",
        bounds=(0.0, 1e6),
    )
    pitch_weight: float = option(
        3.0,
        "Style",
        "Weight of the pitch loss: how far the partials leave those of the content.",
        bounds=(0.0, 1e6),
    )
    onset_weight: float = option(
        0.8,
        "Style",
        "Weight of the onset loss: how far the attacks leave the times of the content's.",
        bounds=(0.0, 1e6),
    )
    rhythm_weight: float = option(
        0.3,
        "Style",
        "Weight of the rhythm loss: how far the course of the level leaves the content's.",
        bounds=(0.0, 1e6),
    )
    style_statistic: str = option(
        "wasserstein",
        "Style",
        "What of the activations is matched: their distribution (Wasserstein-2 distance of means "
        "and covariances), their Gram matrix (the classic), or means and deviations alone.",
        choices=("wasserstein", "gram", "moments"),
    )
    envelope_weight: float = option(
        0.0,
        "Style",
        "Weight of the temporal and spectral energy-envelope losses (Verma & Smith 2018).",
        bounds=(0.0, 1e6),
    )
    losses: tuple[tuple[str, float], ...] = option(
        (),
        "Style",
        "Losses of one's own with their weights, from --plugin or an installed package.",
        bounds=(0.0, 1e6),
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
    content_layers: tuple[tuple[str, float], ...] = option(
        (),
        "Network",
        "Layers of the content loss with their weights.",
        metavar="NAME[=WEIGHT],...",
        weighs="layer",
    )
    style_layers: tuple[tuple[str, float], ...] = option(
        (),
        "Network",
        "Layers of the style loss with their weights.",
        metavar="NAME[=WEIGHT],...",
        weighs="layer",
    )
    bands: int = option(
        0,
        "Network",
        "Frequency bands that get style statistics each, and overlap by half; 1 is the classic "
        "algorithm, 0 the network's own default.",
        bounds=(0, 256),
    )
    pooling: str = option(
        "max", "Network", "Pooling between the blocks of VGG-19.", choices=("average", "max")
    )
    precision: str = option(
        "auto",
        "Network",
        "Arithmetic of the convolutions; auto takes bfloat16 where the processor has it.",
        choices=("auto", "float32", "bfloat16"),
    )
    weights: str | None = option(
        None,
        "Network",
        "Weights file in place of the one that ships: a converted .npz, or the VGG-19 of Keras "
        "(.h5, tf kernels, notop).",
        metavar="FILE",
    )
    init: str = option(
        "mosaic",
        "Descent",
        "Where the descent starts: the content, the content with the style's spectral envelope, "
        "that blended with a mosaic of frames of the style, the style itself, or noise.",
        choices=("content", "envelope", "mosaic", "style", "noise"),
    )
    mosaic_share: float = option(
        0.5, "Descent", "Share of the mosaic in the start of init=mosaic.", bounds=(0.0, 1.0)
    )
    optimizer: str = option("lbfgs", "Descent", "Method of the descent.", choices=("lbfgs", "adam"))
    iterations: int = option(
        20, "Descent", "Most steps of the descent.", unit="steps", bounds=(0, 100_000)
    )
    learning_rate: float = option(
        0.02,
        "Descent",
        "Step size of Adam, as a share of the dB range.",
        bounds=(1e-6, 1.0),
    )
    tolerance: float = option(
        1e-3,
        "Descent",
        "Stop when five steps together lower the total loss by less than this share; at 0 only "
        "where no step lowers it.",
        bounds=(0.0, 1.0),
    )
    seed: int = option(0, "Descent", "Seed of noise and of random filters.", bounds=(0, 2**31 - 1))
    sr: int = option(
        22050,
        "Spectrogram",
        "Rate at which style is analysed and applied; what the content has above half of it is "
        "kept, and follows the level of the bands below.",
        unit="Hz",
        bounds=(4000, 192_000),
    )
    n_fft: int = option(
        2048, "Spectrogram", "Length of the STFT window.", unit="samples", bounds=(64, 65_536)
    )
    hop_length: int = option(
        512, "Spectrogram", "Step of the STFT window.", unit="samples", bounds=(16, 32_768)
    )
    n_mels: int = option(256, "Spectrogram", "Mel bands.", unit="bands", bounds=(16, 2048))
    mel_scale: str = option(
        "slaney", "Spectrogram", "Formula of the mel scale.", choices=("slaney", "htk")
    )
    top_db: float = option(
        80.0,
        "Spectrogram",
        "Dynamic range of the spectrogram; what lies below is treated as silence.",
        unit="dB",
        bounds=(20.0, 160.0),
    )
    inversion: str = option(
        "content",
        "Inversion",
        "How the spectrogram becomes sound: from the content's own fine structure and phase, or by "
        "plain Griffin-Lim from random phase.",
        choices=("content", "griffinlim"),
    )
    inversion_iterations: int = option(
        32, "Inversion", "Iterations of Griffin-Lim.", unit="iterations", bounds=(0, 10_000)
    )

    def __post_init__(self) -> None:
        """Bring every value to its type, check it, and fill in the defaults of the network."""
        for field in dataclasses.fields(self):
            value = coerce(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
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
        if self.weights is not None and spec.build is not None and not spec.takes_weights:
            raise ConfigError(f"weights={self.weights}: {self.network} takes none; omit --weights")
        if self.bands > self.n_mels:
            raise ConfigError(f"bands={self.bands} must be at most n_mels={self.n_mels}")
        if self.hop_length > self.n_fft // 2:
            raise ConfigError(
                f"hop_length={self.hop_length} must be at most n_fft/2={self.n_fft // 2}, or the "
                "windows do not overlap enough to be inverted"
            )
        if self.n_mels > self.n_fft // 2:
            limit = f"n_fft/2={self.n_fft // 2}: raise n_fft or lower n_mels"
            raise ConfigError(f"n_mels={self.n_mels} must be at most {limit}")
        for part in ("content", "style"):
            layers = getattr(self, f"{part}_layers")
            if getattr(self, f"{part}_weight") > 0 and not any(weight for _, weight in layers):
                raise ConfigError(
                    f"{part}_layers: all weights are 0; raise one, or use {part}_weight=0"
                )
        if not any(self.loss_weights.values()):
            names = [f"{term}_weight" for term in TERMS]
            raise ConfigError(f"{', '.join(names)} are all 0: nothing to optimise")

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights of what makes the total: all `TERMS` in order, then `losses` of above 0."""
        weights = {term: float(getattr(self, f"{term}_weight")) for term in TERMS}
        return weights | {name: weight for name, weight in self.losses if weight > 0}

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> TransferConfig:
        """Make a configuration from a preset and what differs from it.

        Parameters
        ----------
        preset : str
            A key of `PRESETS`.
        **overrides
            Fields of `TransferConfig`. A network other than the preset's brings its own layers,
            unless they are given too.

        Returns
        -------
        TransferConfig

        Raises
        ------
        ConfigError
            If the preset or a field is not known, or a value is out of bounds.
        """
        values = dict(PRESETS[check_choice("preset", preset, PRESETS)])
        names = [field.name for field in dataclasses.fields(cls)]
        for name in overrides:
            check_choice("parameter", name, names)
        if overrides.get("network", values.get("network", "vgg19")) != values.get(
            "network", "vgg19"
        ):
            for name in ("content_layers", "style_layers"):
                values.pop(name, None)
        return cls(**{**values, **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values that JSON and TOML can hold.

        Returns
        -------
        dict of str to object
        """
        values = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if field.metadata["weighs"]:
                values[field.name] = dict(values[field.name])
        return values


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "music_weight": 0.0,
        "iterations": 10,
    },
    "balanced": {},
    "best": {"iterations": 40},
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

PRESET_HELP: dict[str, str] = {
    "fast": "half the steps, no second network",
    "balanced": "the default",
    "best": "more steps",
    "classic": "the textbook algorithm of Gatys et al. and nothing else",
}


def _check_layer(network: str, spec: NetworkSpec, layer: str) -> None:
    if spec.layers:
        check_choice(f"layer of {network}", layer, spec.layers)
    elif not (layer.startswith("width") and layer[5:].isdecimal() and 1 <= int(layer[5:]) <= 512):
        raise ConfigError(
            f"layer {layer!r} of {network} must be widthN with N frames from 1 to 512, as width11"
        )
