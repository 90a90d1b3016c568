from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from audiostyle.cli import main, transfer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.files.request import TransferRequest
from audiostyle.report.records import PairRecord
from audiostyle.report.settings import describe_settings, differing_settings, repeat_command
from tests.support.report_data import make_record

PATHS = Path("my song.wav"), Path("a'b.wav"), Path("out.wav")


def make_run(preset: str = "balanced", **parameters: Any) -> dict[str, Any]:
    config = TransferConfig.from_preset(preset, **parameters)
    return make_record(*PATHS, 1.0, preset=preset, parameters=config.to_dict())


def make_pairs(*records: dict[str, Any]) -> list[PairRecord]:
    return [PairRecord("n", "done", {}, record=record) for record in records]


def test_only_what_differs_is_a_setting() -> None:
    pairs = make_pairs(make_run(strength=0.2, seed=3), make_run(strength=0.25, seed=3))
    assert differing_settings(pairs) == {"strength": ["0.2", "0.25"]}
    assert differing_settings(pairs[:1]) == {}


def test_a_preset_stands_for_its_parameters() -> None:
    pairs = make_pairs(make_run("fast"), make_run("classic"), {})
    assert differing_settings(pairs) == {"preset": ["fast", "classic", ""]}
    pairs = make_pairs(make_run("fast", iterations=7), make_run("classic"))
    settings = differing_settings(pairs)
    assert settings == {"preset": ["fast", "classic"], "iterations": ["7", "100"]}
    assert describe_settings(settings, 2) == [
        "preset=fast, iterations=7",
        "preset=classic, iterations=100",
    ]


def test_parameters_of_another_version_are_settings_too() -> None:
    old = make_run() | {"audiostyle": "0.0.9"}
    old["parameters"] = {**old["parameters"], "sparkle": 2.5}
    settings = differing_settings(make_pairs(make_run(), old))
    assert settings == {"sparkle": ["none", "2.5"], "audiostyle": ["0.1.0", "0.0.9"]}


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("balanced", {}),
        ("fast", {"strength": 0.1 + 0.2, "seed": 7, "top_db": 60.0}),
        ("classic", {"style_layers": {"block1_conv1": 1.0, "block2_conv1": 0.5}, "init": "noise"}),
        ("classic", {"bands": 4, "tolerance": 1e-5}),
    ],
)
def test_the_command_repeats_a_run(
    preset: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line reads the command back into the same request and parameters."""
    runs: list[tuple[TransferRequest, TransferConfig]] = []

    def run(request: TransferRequest, config: TransferConfig, *_: Any, **__: Any) -> int:
        runs.append((request, config))
        return 0

    monkeypatch.setattr(transfer, "run_transfer_command", run)
    record = make_run(preset, **parameters)
    record["request"] |= {"start": 1.5, "duration": 2.0, "subtype": "PCM_24"}
    record["styles"] = [
        {"path": name, "weight": weight, "clips": []} for name, weight in (("a b", 2.0), ("c", 0.5))
    ]
    words = shlex.split(repeat_command(record))
    assert words[0] == "audiostyle"
    with pytest.raises(SystemExit, match="0"):
        main.main(words[1:])
    ((request, config),) = runs
    assert config == TransferConfig.from_preset(preset, **parameters)
    assert (request.content, request.output) == (PATHS[0], PATHS[2])
    assert (request.styles, request.style_weights) == ([Path("a b"), Path("c")], [2.0, 0.5])
    assert (request.start, request.duration, request.subtype) == (1.5, 2.0, "PCM_24")
    assert request.preset == preset


def test_a_recorded_transfer_is_kept() -> None:
    words = ["audiostyle", "transfer", "a b"]
    assert repeat_command(make_run() | {"command": words}) == "audiostyle transfer 'a b'"
    built = repeat_command(make_run())
    for other in (["audiostyle", "batch", "a"], None, "x"):  # a batch makes other outputs too
        assert repeat_command(make_run() | {"command": other}) == built
