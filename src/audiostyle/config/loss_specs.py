"""The losses on the spectrogram that were registered, and how another one is added.

A loss of one's own is a class with a decorator, in one file; docs/contributing.md shows it. This
module imports neither TensorFlow nor NumPy, so that names can be checked before they are loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audiostyle.config import registry
from audiostyle.config.fields import LayerWeights, check_choice
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS

GROUP = "audiostyle.nn.style_losses"  # entry points of installed packages that register losses

Builder = Callable[[Any], Any]
"""Makes a `audiostyle.nn.loss_registry.SpectrogramLoss` of a `TransferConfig`."""

LOSSES: dict[str, Builder] = {}
"""What makes every registered loss, by its name; those that ship are `audiostyle.events.TERMS`."""


def register_loss(name: str) -> Callable[[Builder], Builder]:
    """Add a loss that holds the spectrogram to its content, for ``--losses`` and `TransferConfig`.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and ``-``.

    Returns
    -------
    callable
        A decorator for what makes the loss: called with a `TransferConfig`, it returns a
        `audiostyle.nn.loss_registry.SpectrogramLoss`.

    Raises
    ------
    ConfigError
        If the name cannot be one, or is taken.

    Examples
    --------
    >>> @register_loss("mine")  # doctest: +SKIP
    ... class Mine: ...
    """
    # Curves and pages hold the total and the number of the step by these names, beside the losses.
    registry.check_name("loss", name, ("total", "step", *TERMS, *LOSSES))

    def add(build: Builder) -> Builder:
        LOSSES[name] = build
        return build

    return add


def find_loss(name: Any) -> str:
    """Return the name of a loss that is registered; look among installed packages if need be.

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
        If there is no such loss, or the package that has it cannot be imported.
    """
    if name in TERMS:
        raise ConfigError(f"loss {name!r} is built in, with a weight of its own: use {name}_weight")
    if isinstance(name, str) and name not in LOSSES:
        registry.load_entry_point(GROUP, "loss", name)
    return check_choice("loss", name, LOSSES, "give the file that registers it with --plugin")


def provenance(losses: LayerWeights) -> dict[str, dict[str, str]]:
    """Say where the losses of a configuration come from; see `audiostyle.config.registry.provenance`.

    Parameters
    ----------
    losses : tuple of (str, float)
        Those of weight 0 are left out.

    Returns
    -------
    dict of str to dict
        By the names of the losses.
    """
    return {
        name: registry.provenance("loss", LOSSES[find_loss(name)])
        for name, weight in losses
        if weight > 0
    }


def loss_digests(losses: LayerWeights) -> dict[str, str]:
    """Return the SHA-256 of the code of each loss that `provenance` can tell one of.

    Parameters
    ----------
    losses : tuple of (str, float)

    Returns
    -------
    dict of str to str
    """
    return {name: found.get("sha256", "") for name, found in provenance(losses).items()}
