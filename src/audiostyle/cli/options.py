"""The options that commands share, made from the metadata of parameters, and what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from audiostyle.batch.ray.cluster import Cluster
from audiostyle.cli.parts import GroupedOption
from audiostyle.config.network_specs import find_network
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import PRESET_HELP, PRESETS, TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice


def parameter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all that says how and where a transfer is computed: preset, file, parameters, device.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
    """
    options: list[Callable[..., Any]] = [
        click.option(
            "--preset",
            cls=GroupedOption,
            group="Style",
            choices=tuple(PRESETS),
            metavar="NAME",
            help=presets_help(),
        ),
        click.option(
            "--config",
            "config_file",
            type=click.Path(),
            cls=GroupedOption,
            group="Style",
            metavar="FILE.toml",
            help="Parameters from a file: names as below, with _ for -. Options given "
            "here win over it.  [default: none]",
        ),
        config_options,
        click.option(
            "--plugin",
            "plugins",
            multiple=True,
            type=click.Path(),
            cls=GroupedOption,
            group="Network",
            metavar="FILE.py",
            help="Run this Python file of yours, which registers networks for --network or losses "
            "for --losses.  [default: none]",
        ),
        run_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says where a transfer is computed, and changes nothing else.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
    """
    options: list[Callable[..., Any]] = [
        click.option(
            "--device",
            default="auto",
            cls=GroupedOption,
            group="Run",
            metavar="[auto|cpu|gpu|gpu:N]",
            help="Where to compute; an explicit GPU that is absent is an error.  [default: auto]",
        ),
        click.option(
            "--threads",
            type=int,
            default=0,
            cls=GroupedOption,
            group="Run",
            help="Threads to compute with; 0 takes all cores.  [0 to 1024; default: 0]",
        ),
        click.option(
            "--deterministic",
            is_flag=True,
            cls=GroupedOption,
            group="Run",
            help="Give the same bytes each time on this machine: sums in one order, and one thread "
            "unless --threads says otherwise. Slower.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def content_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which part of a content is styled.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
    """
    texts = {
        "start": "Begin so far into the content.  [seconds; at least 0; default: 0]",
        "duration": "Take so much of the content.  [seconds; at least 0.5; default: all]",
        "preview": "Take only the loudest excerpt of this length.  [seconds; at least 0.5; "
        "default: off]",
    }
    for name, text in reversed(texts.items()):
        default = 0.0 if name == "start" else None
        option = click.option(
            f"--{name}", type=float, default=default, cls=GroupedOption, group="Input", help=text
        )
        command = option(command)
    return command


def take_config(options: dict[str, Any]) -> tuple[str, TransferConfig]:
    """Take the parameters that `parameter_options` added out of the options of a command.

    Parameters
    ----------
    options : dict
        What Click found; changed in place.

    Returns
    -------
    preset : str
    config : TransferConfig

    Raises
    ------
    ConfigError
    """
    plugins = options.pop("plugins")
    if plugins:
        from audiostyle.config.plugins import load_plugin

        for plugin in plugins:
            load_plugin(plugin)
    names = {field.name for field in dataclasses.fields(TransferConfig)}
    parameters = {name: options.pop(name) for name in list(options) if name in names}
    return build_config(options.pop("preset"), options.pop("config_file"), parameters)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which workers ``--engine ray`` has; taken out again by `take_cluster`.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
    """
    kinds: dict[str, tuple[Any, str | None, str]] = {
        "ray_address": (
            str,
            "[auto|HOST:PORT]",
            "A Ray cluster that runs, seen from one of its machines.  [default: one that is "
            "started on this machine, and stopped in the end]",
        ),
        "workers": (int, None, "How many compute at a time.  [default: as many as fit]"),
        "gpus_per_worker": (
            float,
            None,
            "GPUs of each worker; parts are allowed.  [0 to 64; default: 1 if the cluster has any, "
            "else 0]",
        ),
        "cpus_per_worker": (
            int,
            None,
            "CPUs of each worker, and its threads unless --threads or --deterministic says "
            "otherwise.  [1 to 1024; default: --threads, or a fair share]",
        ),
    }
    flag = click.option(
        "--return-audio",
        is_flag=True,
        cls=GroupedOption,
        group="Cluster",
        help="The workers share no folder with this machine: send them inputs, and have the sound "
        "sent back.",
    )
    command = flag(command)
    for name, (kind, metavar, text) in reversed(kinds.items()):
        option = click.option(
            "--" + name.replace("_", "-"),
            name,
            type=kind,
            cls=GroupedOption,
            group="Cluster",
            metavar=metavar,
            help=text,
        )
        command = option(command)
    return command


def take_cluster(options: dict[str, Any]) -> Cluster | None:
    """Take what `cluster_options` added, and ``engine``, out of the options of a command.

    Parameters
    ----------
    options : dict
        What Click found; changed in place.

    Returns
    -------
    Cluster or None
        None stands for this process.

    Raises
    ------
    ConfigError
        If an option of a cluster is given without one.
    """
    engine = check_choice("engine", options.pop("engine"), ("local", "ray"))
    names = ("workers", "gpus_per_worker", "cpus_per_worker", "return_audio")
    asked = {name: options.pop(name) for name in names}
    asked["address"] = options.pop("ray_address")
    if engine == "ray":
        return Cluster(**asked)
    for name, value in asked.items():
        if value:
            option = "ray-address" if name == "address" else name.replace("_", "-")
            raise ConfigError(f"--{option} is for --engine ray: give that, too")
    return None


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for every field of `TransferConfig`, as its metadata says.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
    """
    for option in reversed(dataclasses.fields(TransferConfig)):
        metadata = option.metadata
        decorator = click.option(
            "--" + option.name.replace("_", "-"),
            option.name,
            cls=GroupedOption,
            group=metadata["group"],
            default=None,
            metavar=_metavar(option),
            help=_help(option),
        )
        command = decorator(command)
    return command


def _metavar(option: dataclasses.Field[Any]) -> str:
    if option.metadata["choices"]:
        return "[" + "|".join(option.metadata["choices"]) + "]"
    if option.metadata["bounds"] and not option.metadata["weighs"]:
        return "INTEGER" if option.type == "int" else "FLOAT"
    return str(option.metadata["metavar"])


def _help(option: dataclasses.Field[Any]) -> str:
    facts = []
    if option.metadata["unit"]:
        facts.append(option.metadata["unit"])
    if option.metadata["bounds"]:
        low, high = option.metadata["bounds"]
        each = "each " if option.metadata["weighs"] else ""
        facts.append(f"{each}{low:.10g} to {high:.10g}")
    if option.name in ("content_layers", "style_layers", "bands"):
        default = getattr(TransferConfig(), option.name)
        shown = default if isinstance(default, int) else ",".join(name for name, _ in default)
        facts.append(f"default for vgg19: {shown}")
    else:
        facts.append(f"default: {'none' if option.default in (None, ()) else option.default}")
    return str(option.metadata["help"]) + (f"  [{'; '.join(facts)}]" if facts else "")


def presets_help() -> str:
    """Explain the presets in one line.

    Returns
    -------
    str
    """
    listed = "; ".join(f"{name}: {PRESET_HELP[name]}" for name in PRESETS)
    return f"Parameters to begin with ({listed}).  [default: balanced]"


def build_config(
    preset: str | None, config_file: str | None, options: dict[str, Any]
) -> tuple[str, TransferConfig]:
    """Put a configuration together: options win over the file, the file over the preset.

    Parameters
    ----------
    preset, config_file : str or None
    options : dict
        Fields of `TransferConfig` that were given; None means not given.

    Returns
    -------
    preset : str
    config : TransferConfig

    Raises
    ------
    ConfigError
    """
    values = load_toml(config_file) if config_file else {}
    from_file = values.pop("preset", "balanced")
    chosen = preset or from_file
    values.update({name: value for name, value in options.items() if value is not None})
    if "network" in values:
        find_network(values["network"])
    return chosen, TransferConfig.from_preset(chosen, **values)


def parse_blend(text: str | None, n_styles: int) -> list[float]:
    """Read the weights of the styles.

    Parameters
    ----------
    text : str or None
        Numbers with commas between; None stands for equal weights.
    n_styles : int

    Returns
    -------
    weights : list of float

    Raises
    ------
    ConfigError
        If it holds something else, or another number of weights.
    """
    if text is None:
        return [1.0] * n_styles
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"blend={text!r} must be numbers with commas between, as 2,1") from None
    if len(weights) != n_styles:
        raise ConfigError(f"blend={text!r} has {len(weights)} weights for {n_styles} style(s)")
    return weights
