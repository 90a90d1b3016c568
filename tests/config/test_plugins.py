"""A network of one's own, from a file or from an installed package, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from audiostyle.cli import options as cli_options
from audiostyle.config import plugins
from audiostyle.config.network_specs import NETWORKS, find_network, register_network
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError, WeightsError
from audiostyle.nn import backbones
from audiostyle.nn import weights as nn_weights
from tests.conftest import SR, make_noise, make_tones
from tests.support.fakes import call

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_network.py"
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


def test_the_example_has_less_than_60_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60


def test_the_example_styles_a_clip_end_to_end(tmp_path: Path) -> None:
    """As a newcomer would: a file, an option, a name."""
    sf.write(tmp_path / "content.wav", make_tones(), SR)
    sf.write(tmp_path / "style.wav", make_noise(), SR)
    options = "--network ripples --music-weight 0 --texture-weight 0 --iterations 3 --n-mels 64"
    command = [sys.executable, "-m", "audiostyle", "transfer", "content.wav", "style.wav"]
    command += ["-o", "out.wav", "--plugin", str(EXAMPLE), *options.split(), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["parameters"]["network"] == "ripples"
    assert record["weights"]["sha256"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert set(record["losses"][0]["layers"]) == {"slow", "fast"}
    assert record["losses"][-1]["style"] < record["losses"][0]["style"]
    assert sf.info(tmp_path / "out.wav").frames == SR


def test_the_filters_of_the_example_answer_to_ripples_of_their_own_speed_and_spacing() -> None:
    plugins.load_plugin(EXAMPLE)
    (name,) = (n for n in sys.modules if n.startswith(plugins.PREFIX))
    rates, scales = sys.modules[name].RATES, sys.modules[name].SCALES
    config = TransferConfig(network="ripples", n_mels=128)
    network = backbones.build_network(config)
    rate, scale = rates[1], scales[1]
    at = 2 * np.pi * (scale * np.arange(128)[:, None] + rate * np.arange(96))
    S = (-40 + 20 * np.cos(at))[None, :, :, None].astype(np.float32)
    answer = np.asarray(network(S)["fast"])[0, 32:96, 32:64].mean(axis=(0, 1))
    assert divmod(int(answer.argmax()), len(scales)) == (1, 1)


def test_a_plugin_is_known_by_name_with_its_own_defaults(plugin: Path) -> None:
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
    ],
)
def test_a_plugin_that_fails_is_one_line_and_leaves_nothing(
    text: str, reason: str, tmp_path: Path
) -> None:
    before = dict(NETWORKS)
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^plugin .*mine.py cannot be used: {reason}") as info:
        plugins.load_plugin(path)
    assert "\n" not in str(info.value)
    assert before == NETWORKS


@pytest.mark.parametrize(
    ("name", "reason"), [("none.py", "is not a file"), ("mine.txt", "must be a Python file")]
)
def test_what_is_no_python_file_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match=reason):
        plugins.load_plugin(tmp_path / name)
    assert call("transfer", "a", "b", "-o", "o", "--plugin", str(tmp_path / name)) == 2


def test_no_file_but_the_one_named_on_the_command_line_is_run(
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


def test_code_and_weights_both_tell_one_result_from_another(plugin: Path, tmp_path: Path) -> None:
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


def test_a_network_without_a_source_file_says_where_it_is_from() -> None:
    build = eval("lambda layers, config: None", {"__name__": "prompt"})
    register_network("typed", layers=("a",), content=("a",), style=("a",))(build)
    assert nn_weights.provenance("typed") == {"source": "network registered by prompt"}


def test_an_installed_package_is_asked_only_for_a_name_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def entry_points(**by: str) -> list[SimpleNamespace]:
        asked.append((by["group"], by["name"]))

        def load() -> None:
            if by["name"] == "broken":
                raise ImportError("no\nsuch thing")
            register_network(by["name"], layers=("a",), content=("a",), style=("a",))(list)

        known = by["name"] in ("theirs", "broken")
        return [SimpleNamespace(load=load, value="pkg:Net")] if known else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert find_network("vgg19") == "vgg19"
    assert asked == []
    assert find_network("theirs") == "theirs"
    assert asked == [("audiostyle.nn.backbones", "theirs")]
    assert find_network("theirs") == "theirs"
    assert len(asked) == 1
    with pytest.raises(ConfigError, match=r"pkg:Net cannot be imported \(ImportError: no such thi"):
        find_network("broken")
    with pytest.raises(ConfigError, match="network 'vgg18' is not known: did you mean vgg19"):
        find_network("vgg18")


def test_workers_of_a_cluster_are_not_given_what_they_cannot_load(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--engine", "ray", "--plugin", str(plugin), "--network", "tiny-net"]
    assert call("batch", str(tmp_path), str(tmp_path), "-o", str(tmp_path / "out"), *options) == 2
    assert "comes from a plugin file, which the workers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    plugins.check_portable(TransferConfig())
