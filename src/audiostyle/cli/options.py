"""Options that commands share, and the configuration that they result in."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiostyle.config.record_file import is_record, load_record
from audiostyle.config.registry import find_network
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import (
    ALIASES,
    DEFAULT_PRESET,
    PRESET_HELP,
    PRESETS,
    TransferConfig,
    preset_parameters,
)
from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice
from audiostyle.utils.times import parse_span, parse_time

if TYPE_CHECKING:
    from audiostyle.batch.ray.cluster import Cluster

Decorator = Callable[[Any], Any]
PATH = click.Path(path_type=Path)
SHOW_ALL = "audiostyle.help-all"  # key of `click.Context.meta`


class GroupedCommand(click.Command):
    """A command whose help lists the `common` options, and with ``--help-all`` all, by group.

    Without `common`, its help lists all. Its `details` are a part of the help with ``--help-all``.
    """

    def __init__(
        self, *arguments: Any, common: Sequence[str] = (), details: str = "", **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.common, self.details = common, inspect.cleandoc(details)
        self.params.append(help_all_option("Show all options and exit.", hidden=not common))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, and the details if all is shown."""
        super().format_help_text(ctx, formatter)
        if self.details and (shows_all(ctx) or not self.common):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(self.details)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the common options in their order, or one section per title."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        if self.common and not shows_all(ctx):
            title = f"Common options (--help-all shows all {len(options)})"
            by_name = {name: one for one in options for name in one.opts}
            shown = [(title, by_name[name]) for name in (*self.common, "--help", "--help-all")]
        else:
            shown = [(getattr(one, "group", "Other options"), one) for one in options]
        sections: dict[str, list[tuple[str, str]]] = {}
        for title, one in shown:
            if record := one.get_help_record(ctx):
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def help_all_option(help: str, hidden: bool = False) -> click.Option:
    """Make the option ``--help-all``."""

    def show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            context.meta[SHOW_ALL] = True
            click.echo(context.get_help())
            context.exit()

    settings: dict[str, Any] = {"is_eager": True, "expose_value": False, "callback": show}
    made = click.Option(["--help-all"], is_flag=True, help=help, hidden=hidden, **settings)
    made.group = "Other options"  # type: ignore[attr-defined]  # see option_group
    return made


def shows_all(context: click.Context) -> bool:
    """Tell whether the help that is being written is that of ``--help-all``."""
    return bool(context.meta.get(SHOW_ALL))


def command(
    name: str,
    *examples: str,
    help: str,
    details: str = "",
    common: Sequence[str] = (),
    usage: str = "[OPTIONS]",
) -> Decorator:
    """Make a `GroupedCommand`; the examples leave out ``audiostyle NAME``.

    The help is not the docstring of the function, which ``python -OO`` removes. Its first paragraph
    is the summary in the list of commands.
    """
    lines = [f"  audiostyle {name} {example}" for example in examples]
    return click.command(
        name,
        cls=GroupedCommand,
        options_metavar=usage,
        help=help,
        short_help=" ".join(help.split("\n\n")[0].split()),
        epilog="\n".join(["\b", "Examples:", *lines]),
        common=common,
        details=details,
    )


def option_group(title: str, *options: Decorator) -> Decorator:
    """Add options that the help lists under a title."""

    def decorate(function: Any) -> Any:
        for add_option in reversed(options):
            add_option(function)
            function.__click_params__[-1].group = title
        return function

    return decorate


def option(
    names: str,  # such as "-o --output out_dir"; the last may name the parameter
    help: str,
    metavar: str | None = None,  # an option without one is a flag
    *,
    choices: Iterable[str] = (),
    **settings: Any,
) -> Decorator:
    """Make an option; the shell completes `choices`, or the names in a metavar such as [a|b:N]."""
    listed = metavar.strip("[]").split("|") if metavar and "|" in metavar else []
    words = list(choices) or [word for word in listed if re.fullmatch(r"[a-z0-9-]+", word)]
    if words:
        settings["shell_complete"] = lambda context, parameter, incomplete: [
            word for word in words if word.startswith(incomplete)
        ]
    if metavar is None:
        settings["is_flag"] = True
    return click.option(*names.split(), help=help, metavar=metavar, **settings)


def output_option(metavar: str, help: str, parameter: str = "output") -> Decorator:
    """Make the option that names the output."""
    return option(f"-o --output {parameter}", help, metavar, required=True, type=PATH)


def verbose_option(help: str = "Show TensorFlow's messages and tracebacks.") -> Decorator:
    """Make a flag that also lets `audiostyle.cli.main.main` show tracebacks."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
        context.ensure_object(dict)["verbose"] = value
        return value

    return option("-v --verbose", help, callback=remember)


def _text_type(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return an option type that parses text with a function; its `ValueError` is the message."""

    def convert(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value  # a default is no text
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


TIME = _text_type(parse_time)  # shown as SECONDS; M:SS is accepted too
SPAN = _text_type(parse_span)
SUBTYPE = option(
    "--subtype",
    "Use this sample format, such as PCM_16, PCM_24 or FLOAT.  [default: that of the content]",
    "NAME",
)
CONTENT_OPTIONS = (
    option(
        "--start",
        "Start at this time of the content.  [or M:SS; at least 0; default: 0]",
        "SECONDS",
        type=TIME,
        default=0.0,
    ),
    option(
        "--duration",
        "Use this much of the content.  [or M:SS; at least 0.5; default: all]",
        "SECONDS",
        type=TIME,
    ),
    option(
        "--preview",
        "Use only the loudest excerpt of this length.  [or M:SS; at least 0.5; default: off]",
        "SECONDS",
        type=TIME,
    ),
    option(
        "--only",
        "Style only this stretch, such as 1:02-1:18, and leave the rest of the content as it is. "
        "May be given several times.  [seconds or M:SS; at least 0.5 long; default: all]",
        "START-END",
        type=SPAN,
        multiple=True,
    ),
)
RUN_OPTIONS = (
    option(
        "--device",
        "Compute on this device; it is an error if a GPU is named and not found.  [default: auto]",
        "[auto|cpu|gpu|gpu:N]",
        default="auto",
    ),
    option(
        "--threads",
        "Compute with this many threads; 0 uses all cores.  [0 to 1024; default: 0]",
        "N",
        type=int,
        default=0,
    ),
    option(
        "--deterministic",
        "Give the same bytes every time on this machine: sum in a fixed order, with one thread "
        "unless --threads is given. Slower.",
    ),
)
CLUSTER_OPTIONS = (
    option(
        "--ray-address",
        "Connect to a running Ray cluster, from one of its machines.  [default: start one on this "
        "machine, and stop it at the end]",
        "[auto|HOST:PORT]",
    ),
    option(
        "--workers", "Compute this many pairs at a time.  [default: as many as fit]", "N", type=int
    ),
    option(
        "--gpus-per-worker",
        "Give each worker this many GPUs, or a fraction of one.  [0 to 64; default: 1 if the "
        "cluster has any, else 0]",
        "N",
        type=float,
    ),
    option(
        "--cpus-per-worker",
        "Give each worker this many CPUs, and as many threads unless --threads or --deterministic "
        "is given.  [1 to 1024; default: --threads, or a fair share]",
        "N",
        type=int,
    ),
    option(
        "--return-audio",
        "Send inputs to the workers and outputs back: for workers that share no folder with this "
        "machine.",
    ),
)


def command_line() -> list[str]:
    """Return the command line that is being run, for records."""
    return list(click.get_current_context().ensure_object(dict).get("command", ()))


def is_given(name: str) -> bool:
    """Tell whether an option or argument of the running command was given."""
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, click.core.ParameterSource.DEFAULT)


def take_cluster(options: dict[str, Any]) -> Cluster | None:
    """Remove ``engine`` and `CLUSTER_OPTIONS` from `options`; None means to compute locally."""
    engine = check_choice("engine", options.pop("engine"), ("local", "ray"))
    names = ("ray_address", "workers", "gpus_per_worker", "cpus_per_worker", "return_audio")
    given = {name: options.pop(name) for name in names}
    if engine == "ray":
        from audiostyle.batch.ray.cluster import Cluster

        return Cluster(address=given.pop("ray_address"), **given)
    for name, value in given.items():
        if value:
            raise ConfigError(f"--{name.replace('_', '-')} needs --engine ray")
    return None


def parameter_options(*run_options: Decorator, without: Collection[str] = ()) -> Decorator:
    """Add preset, file and parameters of a transfer, and `RUN_OPTIONS` with `run_options`.

    The parameters named in `without` get no option.
    """
    presets = "; ".join(f"{name}: {PRESET_HELP[name]}" for name in PRESETS)
    preset = option(
        "--preset",
        f"Start from these parameters ({presets}).  [default: {DEFAULT_PRESET}]",
        "NAME",
        choices=PRESETS,
    )
    file = option(
        "--config config_file",
        "Read parameters from a TOML file, or from the record of an earlier run, OUTPUT.json. "
        "Options on the command line override it.  [default: none]",
        "FILE",
        type=click.Path(),
    )
    plugin = option(
        "--plugin plugins",
        "Run a Python file that registers networks for --network or losses for --losses.  "
        "[default: none]",
        "FILE",
        multiple=True,
        type=click.Path(),
    )
    groups = {"Style": [preset, file]}
    for field in dataclasses.fields(TransferConfig):
        if field.name not in without:
            groups.setdefault(field.metadata["group"], []).append(_config_option(field))
    groups["Network"].append(plugin)
    groups["Run"] = [*RUN_OPTIONS, *run_options]

    def decorate(function: Any) -> Any:
        for title, options in reversed(groups.items()):
            function = option_group(title, *options)(function)
        return function

    return decorate


def _config_option(field: dataclasses.Field[Any]) -> Decorator:
    metadata = field.metadata
    if metadata["choices"]:
        metavar = f"[{'|'.join(metadata['choices'])}]"
    elif metadata["unit"] in ("Hz", "dB"):
        metavar = metadata["unit"].upper()
    else:
        metavar = metadata["metavar"] or "N"
    names = [field.name, *(alias for alias, name in ALIASES.items() if name == field.name)]
    flags = " ".join(f"--{name.replace('_', '-')}" for name in names)
    return option(f"{flags} {field.name}", _config_help(field), metavar)


def _config_help(field: dataclasses.Field[Any]) -> str:
    metadata = field.metadata
    facts = [metadata["unit"]] if metadata["unit"] else []
    if metadata["bounds"]:
        low, high = metadata["bounds"]
        facts.append(f"{'each ' if metadata['weighs'] else ''}{low:.10g} to {high:.10g}")
    return f"{metadata['help']}  [{'; '.join([*facts, *_defaults(field.name)])}]"


def _defaults(name: str) -> list[str]:
    """Name the default of a parameter, and those of the presets that have another."""
    values = {preset: _shown(preset_parameters(preset)[name]) for preset in PRESETS}
    default = values[DEFAULT_PRESET]
    others = [f"preset {preset}: {value}" for preset, value in values.items() if value != default]
    network = " for vgg19" if name in ("content_layers", "style_layers", "bands") else ""
    return [f"default{network}: {default}", *others]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(n if weight == 1 else f"{n}={weight:g}" for n, weight in value.items())
    return "none" if value in (None, "") else str(value)


def take_config(options: dict[str, Any]) -> tuple[str, TransferConfig]:
    """Remove what `parameter_options` added, `RUN_OPTIONS` apart, from `options`.

    Returns the preset and the configuration.
    """
    preset, values = take_parameters(options)
    return preset, TransferConfig.from_preset(preset, **values)


def take_parameters(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Do the same as `take_config`, but return the preset and the parameters that were given."""
    plugins = options.pop("plugins")
    if plugins:
        from audiostyle.config.plugins import load_plugin

        for plugin in plugins:
            load_plugin(plugin)
    names = {field.name for field in dataclasses.fields(TransferConfig)}
    parameters = {name: options.pop(name) for name in list(options) if name in names}
    return merge_parameters(options.pop("preset"), options.pop("config_file"), parameters)


def build_config(
    preset: str | None, config_file: str | None, options: dict[str, Any]
) -> tuple[str, TransferConfig]:
    """Return preset and configuration; see `merge_parameters`."""
    chosen, values = merge_parameters(preset, config_file, options)
    return chosen, TransferConfig.from_preset(chosen, **values)


def merge_parameters(
    preset: str | None, config_file: str | None, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return preset and parameters: `options` override the file, the file the preset.

    An option of None was not given.
    """
    values: dict[str, Any] = {}
    if config_file:
        values = (
            load_record(config_file).values if is_record(config_file) else load_toml(config_file)
        )
    from_file = values.pop("preset", DEFAULT_PRESET)
    values.update({name: value for name, value in options.items() if value is not None})
    if "network" in values:
        find_network(values["network"])
    return preset or from_file, values
