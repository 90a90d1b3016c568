"""Registry of plugin losses on the spectrogram.

Imports neither TensorFlow nor NumPy, so that names are checked before those are loaded.
docs/contributing.md shows a plugin loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audiostyle.config import registry
from audiostyle.config.fields import LayerWeights
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS
from audiostyle.utils.suggestions import check_choice

GROUP = "audiostyle.nn.style_losses"  # entry points of installed packages that register losses

Builder = Callable[[Any], Any]
"""Makes a `audiostyle.nn.loss_registry.SpectrogramLoss` from a `TransferConfig`."""

LOSSES: dict[str, Builder] = {}
"""Builders of all registered losses by name; the built-in losses are `audiostyle.events.TERMS`."""


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
    registry.check_name("loss", name, ("total", "step", *TERMS, *LOSSES))

    def add(build: Builder) -> Builder:
        LOSSES[name] = build
        return build

    return add


def find_loss(name: Any) -> str:
    """Return `name` if it is a registered loss; if it is not, search installed packages first."""
    if name in TERMS:
        raise ConfigError(f"loss {name!r} is built in: set its weight with {name}_weight")
    if isinstance(name, str) and name not in LOSSES:
        registry.load_entry_point(GROUP, "loss", name)
    return check_choice("loss", name, LOSSES, "give the file that registers it with --plugin")


def provenance(losses: LayerWeights) -> dict[str, dict[str, str]]:
    """Return the `registry.provenance` of each loss with a weight above 0, by name."""
    return {
        name: registry.provenance("loss", LOSSES[find_loss(name)])
        for name, weight in losses
        if weight > 0
    }


def loss_digests(losses: LayerWeights) -> dict[str, str]:
    """Return the SHA-256 of the code of each loss with a weight, empty where it has no file."""
    return {name: found.get("sha256", "") for name, found in provenance(losses).items()}
