"""Memory limits of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiostyle.errors import DeviceError
from audiostyle.utils import memory
from tests.conftest import SR
from tests.files.test_faults import BATCH, TRANSFER, finish
from tests.support.fakes import fill_folder


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fake the control groups of a system, without any limit."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "self")
    trees = {"": (tmp_path, tmp_path / "unified"), "memory": (tmp_path / "memory",)}
    monkeypatch.setattr(memory, "CGROUP_TREES", trees)
    return tmp_path


def set_limit(root: Path, file: str, limit: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(limit + "\n")


UNLIMITED = "9223372036854771712"  # in the format of version 1
MIB = 1 << 20


@pytest.mark.parametrize(
    ("listed", "files", "limit"),
    [
        (None, {}, None),
        (None, {"memory.max": "max"}, None),
        (None, {"memory.max": f"{256 * MIB}"}, 256),
        ("0::/\n", {"memory.max": f"{256 * MIB}"}, 256),  # a container
        ("0::/a/b\n", {"a/b/memory.max": f"{300 * MIB}"}, 300),  # a service
        ("0::/a/b\n", {"a/memory.max": f"{300 * MIB}", "a/b/memory.max": "max"}, 300),
        ("0::/a/b\n", {"a/memory.max": f"{300 * MIB}", "a/b/memory.max": f"{200 * MIB}"}, 200),
        ("0::/a\n", {"b/memory.max": f"{256 * MIB}"}, None),  # of another process
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
def test_the_lowest_limit_of_a_group_and_its_parents_applies(
    listed: str | None, files: dict[str, str], limit: int | None, groups: Path
) -> None:
    if listed is not None:
        (groups / "self").write_text(listed)
    for file, text in files.items():
        set_limit(groups, file, text)
    assert memory.memory_limits().get("memory") == (limit and limit * MIB)
    if limit is None:
        memory.check_memory()
    else:
        with pytest.raises(DeviceError, match=r"of memory, .* raise the limit \(the container's"):
            memory.check_memory()


def test_the_memory_needed_is_enough(groups: Path) -> None:
    set_limit(groups, "memory.max", str(memory.NEEDED["memory"]))
    memory.check_memory()
    set_limit(groups, "memory.max", str(memory.NEEDED["memory"] - 1))
    with pytest.raises(DeviceError, match=r"may use 0\.67 GB of memory, .* at least 0\.67"):
        memory.check_memory()


@pytest.mark.parametrize(
    ("command", "code"), [(TRANSFER, 1), pytest.param(BATCH[:-1], 4, marks=pytest.mark.slow)]
)
def test_too_little_memory_for_tensorflow_is_an_error_at_the_start(
    command: tuple[str, ...], code: int, groups: Path, tmp_path: Path
) -> None:
    folder = fill_folder(tmp_path, SR)
    (groups / "self").write_text("0::/job\n")
    set_limit(groups, "job/memory.max", str(600 * MIB))
    found, (line,) = finish(folder, f"group={groups}", *command, "--quiet")
    assert found == code
    assert line.startswith("audiostyle: error: out of memory: this process may use 0.63 GB of mem")
    assert line.endswith("raise the limit (the container's memory)")
    assert not [p.name for p in (folder / "out").rglob("*") if p.name.endswith((".wav", ".part"))]
