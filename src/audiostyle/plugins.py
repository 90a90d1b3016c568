"""Load a file of one's own that registers networks.

That is code, and it runs: so a file is loaded only if the command line, or a program, names it. No
configuration file, style file, journal or environment variable can.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from audiostyle.errors import AudioStyleError, ConfigError
from audiostyle.network_table import NETWORKS

PREFIX = "audiostyle_plugin_"


def load_plugin(path: str | Path) -> list[str]:
    """Run a Python file that registers networks; a second call for the same file does nothing.

    Parameters
    ----------
    path : str or Path
        A file that calls `audiostyle.register_network`.

    Returns
    -------
    list of str
        Names of its networks.

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
    before = dict(NETWORKS)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugin {path} must be a Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        if not _made_by(name):
            raise ConfigError("it registers no network: call audiostyle.register_network in it")
    except (Exception, SystemExit) as error:  # whatever somebody else's code may raise
        del sys.modules[name]
        NETWORKS.clear()
        NETWORKS.update(before)  # not half of it
        kind = "" if isinstance(error, AudioStyleError) else f"{type(error).__name__}: "
        reason = " ".join(f"{kind}{error}".split())
        raise ConfigError(f"plugin {path} cannot be used: {reason}") from None
    return _made_by(name)


def check_portable(network: str) -> None:
    """Refuse a network that other machines cannot know, as it was loaded from a file here.

    Parameters
    ----------
    network : str

    Raises
    ------
    ConfigError
        If it comes from `load_plugin`.
    """
    if str(getattr(NETWORKS[network].build, "__module__", "")).startswith(PREFIX):
        raise ConfigError(
            f"network {network!r} comes from a plugin file, which the workers of a cluster do not "
            "load: install it there as a package with an entry point (docs/contributing.md)"
        )


def _made_by(module: str) -> list[str]:
    return [
        name for name, spec in NETWORKS.items() if getattr(spec.build, "__module__", None) == module
    ]
