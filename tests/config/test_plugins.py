"""Plugin files: loading, failures, and what may name one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import soundfile as sf

from audiostyle.cli import options as cli_options
from audiostyle.config import plugins
from audiostyle.config.registry import LOSSES, NETWORKS
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError, WeightsError
from audiostyle.nn import backbones
from audiostyle.nn import weights as nn_weights
from tests.conftest import SR, make_noise
from tests.support.fakes import call
from tests.support.loss_plugins import PLUGIN as LOSS_PLUGIN

PLUGIN = """
from audiostyle import register_network
@register_network("tiny-net", layers=("a",), content=("a",), style=("a",))
class Tiny:
    min_frames = 3
    def __init__(self, layers, config):
        self.layers, self.top_db = layers, config.top_db
    def __call__(self, S):
        return {"a": 1 + S / self.top_db}
"""

pytestmark = pytest.mark.usefixtures("only_what_ships")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(PLUGIN)
    return path


def test_a_plugin_network_has_its_own_defaults(plugin: Path) -> None:
    with pytest.raises(ConfigError, match="network 'tiny-net' is not known"):
        TransferConfig(network="tiny-net")
    assert plugins.load_plugin(plugin) == plugins.load_plugin(plugin) == ["tiny-net"]
    config = TransferConfig.from_preset("fast", network="tiny-net")
    assert (config.content_layers, config.style_layers, config.bands) == (
        (("a", 1.0),),
        (("a", 1.0),),
        1,
    )
    assert backbones.build_network(config).min_frames == 3
    with pytest.raises(ConfigError, match="layer of tiny-net 'b' is not known"):
        TransferConfig(network="tiny-net", style_layers="b")
    with pytest.raises(ConfigError, match=r"weights=w.npz: tiny-net takes none; omit --weights"):
        TransferConfig(network="tiny-net", weights="w.npz")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "it registers no network and no loss: call audiostyle.register_network"),
        ("def f(:", "SyntaxError: .*"),
        (PLUGIN.replace("tiny-net", "vgg19"), "network 'vgg19' is registered already"),
        (PLUGIN.replace("tiny-net", "Tiny Net"), "network name 'Tiny Net' must be lower-case"),
        (PLUGIN.replace('style=("a",)', 'style=("b",)'), "layer of tiny-net 'b' is not known"),
        (PLUGIN.replace('style=("a",)', "style=()"), "network tiny-net: content and style need"),
        (PLUGIN.replace('layers=("a",)', "layers=()"), r"network tiny-net: layers=\(\) must be"),
        (
            PLUGIN.replace('("a",))', '("a",), bands=999)'),
            "network tiny-net: bands=999 must be from",
        ),
        (PLUGIN + "1 / 0", "ZeroDivisionError: division by zero"),
        (LOSS_PLUGIN + "1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_that_fails_registers_nothing(text: str, reason: str, tmp_path: Path) -> None:
    before = dict(NETWORKS), dict(LOSSES)
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^plugin .*mine.py cannot be used: {reason}") as info:
        plugins.load_plugin(path)
    assert "\n" not in str(info.value)
    assert before == (NETWORKS, LOSSES)


@pytest.mark.parametrize(
    ("name", "reason"), [("none.py", "is not a file"), ("mine.txt", "must be a Python file")]
)
def test_plugins_are_python_files(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match=reason):
        plugins.load_plugin(tmp_path / name)
    assert call("transfer", "a", "b", "-o", "o", "--plugin", str(tmp_path / name)) == 2


def test_only_the_command_line_can_name_a_plugin(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text(f'plugin = "{plugin}"\n')
    with pytest.raises(ConfigError, match="parameter 'plugin' is not known"):
        load_toml(toml)
    monkeypatch.setenv("AUDIOSTYLE_PLUGIN", str(plugin))
    options = {"plugins": (), "preset": None, "config_file": None, "network": "tiny-net"}
    with pytest.raises(ConfigError, match="network 'tiny-net' is not known"):
        cli_options.take_config(options)
    options = {"plugins": (plugin,), "preset": None, "config_file": None, "network": "tiny-net"}
    assert cli_options.take_config(options)[1].network == "tiny-net"


def test_provenance_covers_code_and_weights(plugin: Path, tmp_path: Path) -> None:
    plugin.write_text(PLUGIN.replace("style=(", "takes_weights=True, style=("))
    plugins.load_plugin(plugin)
    code = hashlib.sha256(plugin.read_bytes()).hexdigest()
    assert nn_weights.provenance("tiny-net")["sha256"] == code
    weights = tmp_path / "w.npz"
    weights.write_bytes(b"w")
    found = nn_weights.provenance("tiny-net", str(weights))
    assert found["sha256"] == hashlib.sha256(code.encode() + b"w").hexdigest()
    nn_weights.check_weights("tiny-net")
    nn_weights.check_weights("tiny-net", str(weights))
    with pytest.raises(WeightsError, match="none cannot be read"):
        nn_weights.check_weights("tiny-net", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "options", "what"),
    [
        (PLUGIN, ("--network", "tiny-net"), "network 'tiny-net'"),
        (LOSS_PLUGIN, ("--losses", "tiny"), "loss 'tiny'"),
    ],
)
def test_workers_of_a_cluster_need_an_installed_package(
    text: str,
    options: tuple[str, str],
    what: str,
    plugin: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plugin.write_text(text)
    for name in "ab":
        sf.write(tmp_path / f"{name}.wav", make_noise(0.6), SR)
    sides = (str(tmp_path), str(tmp_path), "-o", str(tmp_path / "out"))
    plugin_options = ("--engine", "ray", "--plugin", str(plugin), *options)
    assert call("batch", *sides, *plugin_options) == 2
    assert f"{what} comes from a plugin file, which the workers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    plugins.check_portable(TransferConfig())
    if LOSSES:
        plugins.check_portable(TransferConfig(losses="tiny=0"))  # type: ignore[arg-type]
