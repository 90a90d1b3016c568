"""Sweep: one content and one style with many configurations, and what these can share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.config.variants import Variants, analysis_key, networks_key
from audiostyle.core.notebook import progress_bar
from audiostyle.core.style import AnalyzedStyle, Style, to_styles
from audiostyle.core.transfer import StyleTransfer, TransferResult
from audiostyle.events import Callback

MAX_NETWORKS = 4  # that stay loaded; each needs about 70 MB and its own traces


class TransferCache:
    """Makes a `StyleTransfer` for any configuration; those with the same networks share them."""

    def __init__(self, device: str = "auto", threads: int = 0) -> None:
        self._options = device, threads
        self._loaded: dict[str, StyleTransfer] = {}  # the one used last is last

    def get(self, config: TransferConfig) -> StyleTransfer:
        """Return a transfer whose networks are loaded, if any with the same are."""
        key = networks_key(config)
        loaded = self._loaded.pop(key, None)
        if loaded is None:
            while len(self._loaded) >= MAX_NETWORKS:
                del self._loaded[next(iter(self._loaded))]
            loaded = StyleTransfer(config, *self._options)
        self._loaded[key] = loaded
        return loaded.with_config(config)


@dataclass
class Take:
    """One result of a sweep.

    Attributes
    ----------
    parameters : dict of str to object
        The values of what varies.
    result : TransferResult
    """

    parameters: dict[str, Any]
    result: TransferResult


def sweep(
    content: Array,
    style: Array | Sequence[Array] | Sequence[Style],
    sr: int,
    vary: Mapping[str, Iterable[Any]],
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
    progress: bool = False,
) -> Iterator[Take]:
    """Make several takes: a transfer with each combination of the values of some parameters.

    Networks are loaded and styles are analysed once where the parameters allow it. Each take holds
    what `audiostyle.transfer` returns for its parameters.

    Parameters
    ----------
    content, style, sr
        As for `audiostyle.transfer`.
    vary : dict of str to sequence
        Values by the name of a field of `TransferConfig`, or of ``preset``.
    config : TransferConfig, optional
        All other parameters.
    callback, device, threads, progress
        As for `audiostyle.transfer`; `progress` shows a bar for each take.

    Returns
    -------
    iterator of Take
        A take is computed when it is asked for.

    Raises
    ------
    AudioStyleError
        As `audiostyle.transfer`; a `ConfigError` for a wrong value of `vary` before the first take.

    Examples
    --------
    >>> for take in sweep(y, style, 22050, {"strength": [0.4, 0.8]}):  # doctest: +SKIP
    ...     take.result.save(f"strength={take.parameters['strength']}.wav")
    """
    variants = Variants(config, None, vary).all
    styles = [replace(one, clips=list(one.clips)) for one in to_styles(style, sr)]

    def takes() -> Iterator[Take]:
        cache = TransferCache(device, threads)
        analyzed: dict[tuple[int, str], AnalyzedStyle] = {}
        for variant in variants:
            with progress_bar(callback, progress) as report:
                transfer, known = cache.get(variant.config), []
                for i, one in enumerate(styles):
                    key = i, analysis_key(variant.config)
                    if key not in analyzed and one.weight > 0:
                        analyzed[key] = transfer.analyze_style(one, report)
                    known.append(replace(one, clips=(), analyzed=_always(analyzed.get(key))))
                result = transfer.transfer(content, known, sr, report)
            yield Take({name: variant.parameters[name] for name, _ in variant.values}, result)

    return takes()


def _always(style: AnalyzedStyle | None) -> Any:
    return lambda: style
