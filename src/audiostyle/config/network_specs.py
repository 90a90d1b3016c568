"""The networks there are: what each offers, what suits it best, and how another one is added.

A network of one's own is a class with a decorator, in one file; docs/contributing.md shows it. This
module imports neither TensorFlow nor NumPy, so that names can be checked before they are loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audiostyle.config import registry
from audiostyle.config.fields import LayerWeights, check_choice
from audiostyle.errors import ConfigError

GROUP = "audiostyle.nn.backbones"  # entry points of installed packages that register networks
MAX_BANDS = 256

Builder = Callable[[list[str], Any], Any]
"""Makes a `audiostyle.nn.backbones.FeatureExtractor` of the layers wanted and a `TransferConfig`."""


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
        Default number of frequency bands of the style statistics.
    build : callable, optional
        Makes the network, if it was registered; those that ship are made by `audiostyle.nn.backbones`.
    takes_weights : bool
        Whether ``--weights`` says something to it.
    """

    layers: tuple[str, ...]
    content: LayerWeights
    style: LayerWeights
    bands: int
    build: Builder | None = None
    takes_weights: bool = True

    def provenance(self) -> dict[str, str]:
        """Say where a registered network comes from, so that a change of it is noticed.

        Returns
        -------
        dict of str to str
            ``source``, and ``sha256`` of the file it is defined in if there is one.
        """
        return registry.provenance("network", self.build)


VGG19_LAYERS = tuple(
    f"block{block}_conv{conv}"
    for block, n_convs in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))
    for conv in range(1, n_convs + 1)
)

NETWORKS: dict[str, NetworkSpec] = {
    "vgg19": NetworkSpec(
        VGG19_LAYERS,
        (("block2_conv1", 1.0),),
        (("block3_conv1", 1.0),),
        15,
    ),
    "musicnn-vgg": NetworkSpec(
        tuple(f"conv{i}" for i in range(1, 6)),
        (("conv2", 1.0),),
        (("conv1", 1.0), ("conv2", 1.0), ("conv3", 1.0)),
        11,
    ),
    "random-1d": NetworkSpec((), (("width11", 1.0),), (("width11", 1.0),), 1, takes_weights=False),
}
"""Every network by its name; `register_network` adds to it."""

MUSIC_LAYERS = (("conv2", 1.0), ("conv3", 1.0))  # of musicnn's VGG, for the music loss


def register_network(
    name: str,
    *,
    layers: tuple[str, ...],
    content: tuple[str, ...],
    style: tuple[str, ...],
    bands: int = 1,
    takes_weights: bool = False,
) -> Callable[[Builder], Builder]:
    """Add a network, which ``--network`` and `TransferConfig` then know by its name.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and ``-``.
    layers : tuple of str
        Every layer that can be asked for, in forward order.
    content, style : tuple of str
        Layers that a loss takes if none are named, with equal weights.
    bands : int > 0
        Frequency bands that get style statistics each, if nothing else is asked for.
    takes_weights : bool
        Whether it reads ``config.weights``, the file of ``--weights``.

    Returns
    -------
    callable
        A decorator for what makes the network: called with the list of the layers that are wanted
        and a `TransferConfig`, it returns a `audiostyle.nn.backbones.FeatureExtractor`.

    Raises
    ------
    ConfigError
        If the name cannot be one, is taken, or layers or bands cannot be right.

    Examples
    --------
    >>> @register_network("mine", layers=("a",), content=("a",), style=("a",))  # doctest: +SKIP
    ... class Mine: ...
    """
    _check_spec(name, layers, (*content, *style), min(len(content), len(style)), bands)

    def add(build: Builder) -> Builder:
        NETWORKS[name] = NetworkSpec(
            layers,
            tuple((layer, 1.0) for layer in content),
            tuple((layer, 1.0) for layer in style),
            bands,
            build,
            takes_weights,
        )
        return build

    return add


def _check_spec(
    name: str, layers: tuple[str, ...], defaults: tuple[str, ...], fewest: int, bands: int
) -> None:
    registry.check_name("network", name, NETWORKS)
    if not layers or len(set(layers)) < len(layers):
        raise ConfigError(
            f"network {name}: layers={layers!r} must be names that differ, one a layer"
        )
    if not fewest:
        raise ConfigError(f"network {name}: content and style need a default layer each")
    for layer in defaults:
        check_choice(f"layer of {name}", layer, layers)
    if not 1 <= bands <= MAX_BANDS:
        raise ConfigError(f"network {name}: bands={bands} must be from 1 to {MAX_BANDS}")


def find_network(name: Any) -> str:
    """Return the name of a network that exists; look among installed packages if need be.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        `name` itself.

    Raises
    ------
    ConfigError
        If there is no such network, or the package that has it cannot be imported.
    """
    if isinstance(name, str) and name not in NETWORKS:
        registry.load_entry_point(GROUP, "network", name)
    return check_choice("network", name, NETWORKS, "give the file that registers it with --plugin")
