"""Registration of networks and losses: names, entry points and provenance."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from audiostyle.config import registry
from audiostyle.config.registry import (
    LOSSES,
    find_loss,
    find_network,
    register_loss,
    register_network,
)
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.nn import loss_registry
from audiostyle.nn import weights as nn_weights

pytestmark = pytest.mark.usefixtures("only_what_ships")

ANY_LAYERS: dict[str, Any] = {"layers": ("a",), "content": ("a",), "style": ("a",)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Fake entry points "theirs" and "broken"; return the list of those that are looked up."""
    found: list[tuple[str, str]] = []

    def entry_points(*, group: str, name: str) -> list[SimpleNamespace]:
        found.append((group, name))

        def load() -> None:
            if name == "broken":
                raise ImportError("no\nsuch thing")
            if "losses" in group:
                register_loss(name)(lambda config: config)
            else:
                register_network(name, **ANY_LAYERS)(list)

        known = name in ("theirs", "broken")
        return [SimpleNamespace(load=load, value="pkg:Thing")] if known else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return found


@pytest.mark.parametrize(
    ("find", "group"),
    [(find_network, "audiostyle.nn.backbones"), (find_loss, "audiostyle.nn.style_losses")],
)
def test_an_installed_package_is_searched_only_for_an_unknown_name(
    find: Callable[[str], str], group: str, asked: list[tuple[str, str]]
) -> None:
    TransferConfig()
    assert asked == []
    assert [find("theirs"), find("theirs")] == ["theirs"] * 2
    assert asked == [(group, "theirs")]
    reason = r"pkg:Thing cannot be imported \(ImportError: no such thing\)"
    with pytest.raises(ConfigError, match=reason):
        find("broken")
    with pytest.raises(ConfigError, match="'theis' is not known: did you mean theirs"):
        find("theis")


def test_a_worker_process_loads_the_package_of_a_loss_again(asked: list[tuple[str, str]]) -> None:
    config = TransferConfig(losses="theirs")  # type: ignore[arg-type]
    LOSSES.clear()  # a worker process receives the configuration only
    with pytest.raises(ConfigError, match="loss 'theirs' must have the methods target and"):
        loss_registry.make_losses(config)
    assert asked == [("audiostyle.nn.style_losses", "theirs")] * 2


@pytest.mark.parametrize("name", ["Tiny", "a=b", "total", "step", "rhythm", "tiny"])
def test_a_loss_needs_a_valid_name_that_is_not_taken(name: str) -> None:
    LOSSES["tiny"] = list
    reason = rf"^loss (name )?'{name}' (must be|is registered already)"
    with pytest.raises(ConfigError, match=reason):
        register_loss(name)


def test_provenance_without_a_source_file_names_the_module() -> None:
    build = eval("lambda *_: None", {"__name__": "prompt"})
    register_network("typed", **ANY_LAYERS)(build)
    assert nn_weights.provenance("typed") == {"source": "network registered by prompt"}
    register_loss("typed")(build)
    source = {"source": "loss registered by prompt"}
    assert registry.loss_provenance((("typed", 1.0),)) == {"typed": source}
    assert registry.loss_digests((("typed", 1.0), ("other", 0.0))) == {"typed": ""}
