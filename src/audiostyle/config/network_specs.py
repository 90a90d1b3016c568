"""Registry of networks: their layers and defaults.

Imports neither TensorFlow nor NumPy, so that names are checked before those are loaded.
docs/contributing.md shows a plugin network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audiostyle.config import registry
from audiostyle.config.fields import LayerWeights
from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice

GROUP = "audiostyle.nn.backbones"  # entry points of installed packages that register networks
MAX_BANDS = 256

Builder = Callable[[list[str], Any], Any]
"""Makes a `audiostyle.nn.backbones.FeatureExtractor` from layer names and a `TransferConfig`."""


@dataclass(frozen=True)
class NetworkSpec:
    """Layers and defaults of a network."""

    layers: tuple[str, ...]  # in forward order; empty where names are patterns (random-1d)
    content: LayerWeights  # default layers
    style: LayerWeights
    bands: int  # default number of frequency bands of the style statistics
    build: Builder | None = None  # of a registered network; None for those of nn.backbones
    takes_weights: bool = True  # whether it reads the file of --weights

    def provenance(self) -> dict[str, str]:
        """Return the `registry.provenance` of a registered network."""
        return registry.provenance("network", self.build)


VGG19_LAYERS = tuple(
    f"block{block}_conv{conv}"
    for block, n_convs in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1))
    for conv in range(1, n_convs + 1)
)

NETWORKS: dict[str, NetworkSpec] = {
    "vgg19": NetworkSpec(VGG19_LAYERS, (("block2_conv1", 1.0),), (("block3_conv1", 1.0),), 15),
    "musicnn-vgg": NetworkSpec(
        tuple(f"conv{i}" for i in range(1, 6)),
        (("conv2", 1.0),),
        (("conv1", 1.0), ("conv2", 1.0), ("conv3", 1.0)),
        11,
    ),
    "random-1d": NetworkSpec((), (("width11", 1.0),), (("width11", 1.0),), 1, takes_weights=False),
}
"""All networks by name; `register_network` adds to it."""

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
    registry.check_name("network", name, NETWORKS)
    if not layers or len(set(layers)) < len(layers):
        raise ConfigError(f"network {name}: layers={layers!r} must be one or more distinct names")
    if not content or not style:
        raise ConfigError(f"network {name}: content and style need a default layer each")
    for layer in (*content, *style):
        check_choice(f"layer of {name}", layer, layers)
    if not 1 <= bands <= MAX_BANDS:
        raise ConfigError(f"network {name}: bands={bands} must be from 1 to {MAX_BANDS}")

    def add(build: Builder) -> Builder:
        weighted_content = tuple((layer, 1.0) for layer in content)
        weighted_style = tuple((layer, 1.0) for layer in style)
        NETWORKS[name] = NetworkSpec(
            layers, weighted_content, weighted_style, bands, build, takes_weights
        )
        return build

    return add


def find_network(name: Any) -> str:
    """Return `name` if it is a network; if it is not, search installed packages first."""
    if isinstance(name, str) and name not in NETWORKS:
        registry.load_entry_point(GROUP, "network", name)
    return check_choice("network", name, NETWORKS, "give the file that registers it with --plugin")
