"""Load a file of one's own that registers networks or losses.

That is code, and it runs: so a file is loaded only if the command line, or a program, names it. No
configuration file, style file, journal or environment variable can.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from audiostyle.config.loss_specs import LOSSES
from audiostyle.config.network_specs import NETWORKS, NetworkSpec
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioStyleError, ConfigError

PREFIX = "audiostyle_plugin_"
TABLES: tuple[dict[str, Any], ...] = (NETWORKS, LOSSES)


def load_plugin(path: str | Path) -> list[str]:
    """Run a Python file that registers networks or losses; a second call for it does nothing.

    Parameters
    ----------
    path : str or Path
        A file that calls `audiostyle.register_network` or `audiostyle.register_loss`.

    Returns
    -------
    list of str
        Names of its networks and losses.

    Raises
    ------
    ConfigError
        If it cannot be read, fails, or registers nothing.
    """
    file = Path(path).resolve()
    # Two files of one name are two modules.
    name = f"{PREFIX}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return _made_by(name)
    if not file.is_file():
        raise ConfigError(f"plugin {path} is not a file; name a Python file")
    before = [dict(table) for table in TABLES]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugin {path} must be a Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        if not _made_by(name):
            raise ConfigError(
                "it registers no network and no loss: call audiostyle.register_network or "
                "audiostyle.register_loss in it"
            )
    except (Exception, SystemExit) as error:  # whatever somebody else's code may raise
        del sys.modules[name]
        for table, known in zip(TABLES, before, strict=True):
            table.clear()
            table.update(known)  # not half of it
        kind = "" if isinstance(error, AudioStyleError) else f"{type(error).__name__}: "
        reason = " ".join(f"{kind}{error}".split())
        raise ConfigError(f"plugin {path} cannot be used: {reason}") from None
    return _made_by(name)


def check_portable(config: TransferConfig) -> None:
    """Refuse what other machines cannot know, as it was loaded from a file here.

    Parameters
    ----------
    config : TransferConfig

    Raises
    ------
    ConfigError
        If the network, or a loss that has a weight, comes from `load_plugin`.
    """
    used: list[tuple[str, str, Any]] = [("network", config.network, NETWORKS[config.network])]
    used += [("loss", name, LOSSES[name]) for name, weight in config.losses if weight > 0]
    for what, name, entry in used:
        if _module(entry).startswith(PREFIX):
            raise ConfigError(
                f"{what} {name!r} comes from a plugin file, which the workers of a cluster do not "
                "load: install it there as a package with an entry point (docs/contributing.md)"
            )


def _made_by(module: str) -> list[str]:
    return [name for table in TABLES for name, entry in table.items() if _module(entry) == module]


def _module(entry: Any) -> str:
    """Name the module of an entry of a table: what makes something, or a network's description."""
    build = entry.build if isinstance(entry, NetworkSpec) else entry
    return str(getattr(build, "__module__", ""))
