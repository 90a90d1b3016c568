"""Registries of networks and of plugin losses: names, defaults, lookup and provenance.

Imports neither TensorFlow nor NumPy, so that names are checked before those are loaded.
docs/contributing.md shows a plugin network and a plugin loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.config.fields import LayerWeights
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS
from audiostyle.utils.suggestions import check_choice

# Entry points of installed packages that register networks and losses.
GROUPS = {"network": "audiostyle.nn.backbones", "loss": "audiostyle.nn.style_losses"}
MAX_BANDS = 256

Builder = Callable[..., Any]
"""A registered class or function; `register_network` and `register_loss` say how it is called."""


@dataclass(frozen=True)
class NetworkSpec:
    """Layers and defaults of a network."""

    layers: tuple[str, ...]  # in forward order; empty where names are patterns (random-1d)
    content: LayerWeights  # default layers
    style: LayerWeights
    bands: int  # default number of frequency bands of the style statistics
    build: Builder | None = None  # of a registered network; None for those of nn.backbones
    takes_weights: bool = True  # whether it reads the file of --weights
    aliases: Mapping[str, str] = field(default_factory=dict)  # other names of layers


def _equal(*layers: str) -> LayerWeights:
    return tuple((layer, 1.0) for layer in layers)


VGG19_LAYERS = tuple(
    f"block{block}_conv{conv}"
    for block, n_convs in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))
    for conv in range(1, n_convs + 1)
)
# Papers on style transfer write conv4_2 for Keras's block4_conv2.
VGG19_ALIASES = {
    layer.replace("_conv", "_").replace("block", "conv"): layer for layer in VGG19_LAYERS
}
MUSICNN_LAYERS = tuple(f"conv{i}" for i in range(1, 6))
MUSIC_LAYERS = _equal("conv2")  # of musicnn's VGG, for the music loss

NETWORKS: dict[str, NetworkSpec] = {
    "vgg19": NetworkSpec(
        VGG19_LAYERS, _equal("block2_conv1"), _equal("block3_conv1"), 15, aliases=VGG19_ALIASES
    ),
    "musicnn-vgg": NetworkSpec(
        MUSICNN_LAYERS, _equal("conv2"), _equal("conv1", "conv2", "conv3"), 11
    ),
    "random-1d": NetworkSpec((), _equal("width11"), _equal("width11"), 1, takes_weights=False),
}
"""All networks by name; `register_network` adds to it."""

LOSSES: dict[str, Builder] = {}
"""Builders of all registered losses by name; the built-in losses are `audiostyle.events.TERMS`."""


def register_network(
    name: str,
    *,
    layers: tuple[str, ...],
    content: tuple[str, ...],
    style: tuple[str, ...],
    bands: int = 1,
    takes_weights: bool = False,
) -> Callable[[Builder], Builder]:
    """Add a network for ``--network`` and `TransferConfig`.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and ``-``.
    layers : tuple of str
        All layers, in forward order.
    content, style : tuple of str
        Default layers of the content and the style loss, with equal weights.
    bands : int > 0
        Default number of frequency bands of the style statistics.
    takes_weights : bool
        Whether the network reads ``config.weights``, the file of ``--weights``.

    Returns
    -------
    callable
        A decorator for a class or function that is called with a list of layer names and a
        `TransferConfig` and returns a `audiostyle.nn.backbones.FeatureExtractor`.

    Raises
    ------
    ConfigError
        If the name is invalid or taken, or the layers or bands are invalid.

    Examples
    --------
    >>> @register_network("mine", layers=("a",), content=("a",), style=("a",))  # doctest: +SKIP
    ... class Mine: ...
    """
    _check_name("network", name, NETWORKS)
    if not layers or len(set(layers)) < len(layers):
        raise ConfigError(f"network {name}: layers={layers!r} must be one or more distinct names")
    if not content or not style:
        raise ConfigError(f"network {name}: content and style need a default layer each")
    for layer in (*content, *style):
        check_choice(f"layer of {name}", layer, layers)
    if not 1 <= bands <= MAX_BANDS:
        raise ConfigError(f"network {name}: bands={bands} must be from 1 to {MAX_BANDS}")

    def add(build: Builder) -> Builder:
        NETWORKS[name] = NetworkSpec(
            layers, _equal(*content), _equal(*style), bands, build, takes_weights
        )
        return build

    return add


def register_loss(name: str) -> Callable[[Builder], Builder]:
    """Add a loss that compares the spectrogram with the content's, for ``--losses``.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and ``-``.

    Returns
    -------
    callable
        A decorator for a class or function that is called with a `TransferConfig` and returns a
        `audiostyle.nn.loss_registry.SpectrogramLoss`.

    Raises
    ------
    ConfigError
        If the name is invalid or taken.

    Examples
    --------
    >>> @register_loss("mine")  # doctest: +SKIP
    ... class Mine: ...
    """
    # Loss curves and pages use "total" and "step" as names beside the losses.
    _check_name("loss", name, ("total", "step", *TERMS, *LOSSES))

    def add(build: Builder) -> Builder:
        LOSSES[name] = build
        return build

    return add


def _check_name(kind: str, name: str, taken: Collection[str]) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ConfigError(f"{kind} name {name!r} must be lower-case letters, digits and -")
    if name in taken:
        raise ConfigError(f"{kind} {name!r} is registered already: choose another name")


def find_network(name: Any) -> str:
    """Return `name` if it is a network; if it is not, search installed packages first."""
    return _find("network", name, NETWORKS)


def find_loss(name: Any) -> str:
    """Return `name` if it is a registered loss; if it is not, search installed packages first."""
    if name in TERMS:
        raise ConfigError(f"loss {name!r} is built in: set its weight with {name}_weight")
    return _find("loss", name, LOSSES)


def _find(kind: str, name: Any, table: Collection[str]) -> str:
    """Look a name up; import only the package with an entry point `name`: that runs its code."""
    if isinstance(name, str) and name not in table:
        from importlib.metadata import entry_points

        for point in entry_points(group=GROUPS[kind], name=name):
            try:
                point.load()
            except Exception as error:  # third-party code may raise anything
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise ConfigError(
                    f"{kind} {name!r}: {point.value} cannot be imported ({reason}); repair or "
                    "uninstall its package"
                ) from None
    return check_choice(kind, name, table, "give the file that registers it with --plugin")


def network_provenance(name: str) -> dict[str, str]:
    """Return the ``source`` of a registered network, and the ``sha256`` of its file if any."""
    return _provenance("network", NETWORKS[name].build)


def loss_provenance(losses: LayerWeights) -> dict[str, dict[str, str]]:
    """Return the provenance of each loss with a weight above 0, as of a network, by name."""
    used = [name for name, weight in losses if weight > 0]
    return {name: _provenance("loss", LOSSES[find_loss(name)]) for name in used}


def loss_digests(losses: LayerWeights) -> dict[str, str]:
    """Return the SHA-256 of the code of each loss with a weight, empty where it has no file."""
    return {name: found.get("sha256", "") for name, found in loss_provenance(losses).items()}


def _provenance(kind: str, build: Builder | None) -> dict[str, str]:
    """Describe a builder; a changed file counts as a change of parameters."""
    import hashlib
    import inspect

    found = {"source": f"{kind} registered by {getattr(build, '__module__', 'an unnamed module')}"}
    try:
        file = inspect.getsourcefile(build) if build is not None else None
        source = b"" if file is None else Path(file).read_bytes()
    except (TypeError, OSError):  # defined at a prompt, or its file was deleted
        source = b""
    return {**found, "sha256": hashlib.sha256(source).hexdigest()} if source else found
