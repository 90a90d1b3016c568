"""What the command line is made of: headings, flags that commands share, completion."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import click
from click.shell_completion import CompletionItem


def complete_files(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Leave to the shell what may be a file, a folder, or a pattern.

    Parameters
    ----------
    ctx : click.Context
    parameter : click.Parameter
    incomplete : str

    Returns
    -------
    list of CompletionItem
    """
    return [CompletionItem(incomplete, type="file")]


class GroupedOption(click.Option):
    """An option that is listed under a heading of its own in ``--help``."""

    def __init__(
        self, *args: Any, group: str = "Run", choices: Collection[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        # What stands in brackets is what may be said, but for what only shows a form, as gpu:N.
        listed = (self.metavar or "").strip("[]").split("|") if "|" in (self.metavar or "") else []
        self.choices = choices or [name for name in listed if re.fullmatch(r"[a-z0-9-]+", name)]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names that are allowed, where there are any.

        Parameters
        ----------
        ctx : click.Context
        incomplete : str

        Returns
        -------
        list of CompletionItem
        """
        if self.choices:
            return [CompletionItem(name) for name in self.choices if name.startswith(incomplete)]
        return super().shell_complete(ctx, incomplete)


class GroupedCommand(click.Command):
    """A command whose ``--help`` lists its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section a group, in the order in which the groups first appear.

        Parameters
        ----------
        ctx : click.Context
        formatter : click.HelpFormatter
        """
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                group = getattr(parameter, "group", "Run")
                sections.setdefault(group, []).append(record)
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records)


FLAGS = {
    "force": ("-f", "--force"),
    "json": ("--json", "as_json"),
    "quiet": ("-q", "--quiet"),
    "verbose": ("-v", "--verbose"),
}
"""The flags that commands share."""


def shared_flags(
    group: str = "Output", **texts: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add some of `FLAGS`: their names are the same everywhere, what they do is not quite.

    Parameters
    ----------
    group : str
        The heading they are listed under.
    **texts : str
        The help of each flag that the command has, by its name in `FLAGS`, in the order of
        ``--help``.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, text in reversed(texts.items()):
            option = click.option(
                *FLAGS[name], is_flag=True, cls=GroupedOption, group=group, help=text
            )
            command = option(command)
        return command

    return decorate
