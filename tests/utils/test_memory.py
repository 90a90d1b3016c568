"""Memory: what TensorFlow traces for the first transfer serves them all, and nothing is added."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.core.transfer import Style, StyleTransfer
from audiostyle.dsp import spectrogram
from audiostyle.errors import DeviceError
from audiostyle.utils import memory
from tests.conftest import SR, make_noise, make_tones
from tests.files.test_faults import BATCH, TRANSFER, finish
from tests.support.fakes import fill_folder


def n_graphs() -> int:
    gc.collect()
    return sum(type(item).__name__ == "FuncGraph" for item in gc.get_objects())


def test_no_graph_is_added_by_the_second_pair_or_the_third(tiny_config: TransferConfig) -> None:
    stylist = StyleTransfer(tiny_config, "cpu")
    counts = []
    for i in range(3):
        style = Style([(make_noise(0.6, seed=i), SR)])
        stylist.transfer(make_tones(0.6 + 0.1 * i), [style], SR)
        counts.append(n_graphs())
    assert counts[0] == counts[1] == counts[2]


def test_no_graph_is_added_by_another_descent_and_none_outlives_its_styler(
    tiny_config: TransferConfig,
) -> None:
    before = n_graphs()
    styler = SpectrogramOptimizer(tiny_config)
    counts = []
    for i in range(3):
        S = spectrogram.mel_spectrogram(make_tones(0.6 + 0.1 * i), tiny_config)[None]
        style = spectrogram.mel_spectrogram(make_noise(0.6, seed=i), tiny_config)
        styler.descend(styler.prepare(S, S, styler.analyzer.style_statistics([style])))
        counts.append(n_graphs())
    assert before < counts[0] == counts[1] == counts[2]
    del styler
    assert n_graphs() == before


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fake the control groups of a system; there are none yet."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "self")
    trees = {"": (tmp_path, tmp_path / "unified"), "memory": (tmp_path / "memory",)}
    monkeypatch.setattr(memory, "CGROUP_TREES", trees)
    return tmp_path


def set_limit(root: Path, file: str, limit: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(limit + "\n")


UNLIMITED = "9223372036854771712"  # as version 1 says it
MIB = 1 << 20


@pytest.mark.parametrize(
    ("said", "files", "limit"),
    [
        (None, {}, None),
        (None, {"memory.max": "max"}, None),
        (None, {"memory.max": f"{256 * MIB}"}, 256),
        ("0::/\n", {"memory.max": f"{256 * MIB}"}, 256),  # a container
        ("0::/a/b\n", {"a/b/memory.max": f"{300 * MIB}"}, 300),  # a service
        ("0::/a/b\n", {"a/memory.max": f"{300 * MIB}", "a/b/memory.max": "max"}, 300),
        ("0::/a/b\n", {"a/memory.max": f"{300 * MIB}", "a/b/memory.max": f"{200 * MIB}"}, 200),
        ("0::/a\n", {"b/memory.max": f"{256 * MIB}"}, None),  # another's
        ("0::/../a\n", {"../a/memory.max": f"{256 * MIB}"}, None),
        ("0::/a:b\n", {"a:b/memory.max": f"{256 * MIB}"}, 256),
        ("1:name=systemd:/\n", {"memory.max": "no number"}, None),
        ("no groups", {"memory.max": f"{256 * MIB}"}, 256),
        # Version 1, and both at once.
        ("4:cpu,memory:/a\n", {"memory/a/memory.limit_in_bytes": f"{256 * MIB}"}, 256),
        ("4:memory:/docker/x\n", {"memory/memory.limit_in_bytes": f"{256 * MIB}"}, 256),
        (
            "4:memory:/a\n0::/\n",
            {
                "memory/memory.limit_in_bytes": UNLIMITED,
                "memory/a/memory.limit_in_bytes": f"{256 * MIB}",
                "unified/memory.max": "max",
            },
            256,
        ),
        ("0::/u\n", {"unified/u/memory.max": f"{256 * MIB}"}, 256),
    ],
)
def test_the_least_limit_of_a_group_and_those_above_counts(
    said: str | None, files: dict[str, str], limit: int | None, groups: Path
) -> None:
    if said is not None:
        (groups / "self").write_text(said)
    for file, text in files.items():
        set_limit(groups, file, text)
    assert memory.memory_limits().get("memory") == (limit and limit * MIB)
    if limit is None:
        memory.check_memory()
    else:
        with pytest.raises(DeviceError, match=r"of memory, .* raise the limit \(the container's"):
            memory.check_memory()


def test_as_much_as_is_needed_is_enough(groups: Path) -> None:
    set_limit(groups, "memory.max", str(memory.NEEDED["memory"]))
    memory.check_memory()
    set_limit(groups, "memory.max", str(memory.NEEDED["memory"] - 1))
    with pytest.raises(DeviceError, match=r"may take 0\.67 GB of memory, TensorFlow needs 0\.67"):
        memory.check_memory()


@pytest.mark.parametrize(("command", "code"), [(TRANSFER, 1), (BATCH[:-1], 4)])
def test_a_group_in_which_tensorflow_would_be_killed_is_said_before(
    command: tuple[str, ...], code: int, groups: Path, tmp_path: Path
) -> None:
    """The kernel says nothing where it kills: it is said first, and nothing is begun."""
    folder = fill_folder(tmp_path, SR)
    (groups / "self").write_text("0::/job\n")
    set_limit(groups, "job/memory.max", str(600 * MIB))
    found, (line,) = finish(folder, f"group={groups}", *command, "--quiet")
    assert found == code
    assert line.startswith("audiostyle: error: out of memory: this process may take 0.63 GB of mem")
    assert line.endswith("raise the limit (the container's memory)")
    assert not [p.name for p in (folder / "out").rglob("*") if p.name.endswith((".wav", ".part"))]
