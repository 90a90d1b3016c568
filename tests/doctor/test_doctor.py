"""What a checkup finds, each thing also where it is broken."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import audiostyle
from audiostyle.cli import doctor_runner
from audiostyle.doctor import checks, formats, packages, selftest
from audiostyle.doctor.packages import CheckResult
from audiostyle.nn import weights
from tests.support.fakes import call

STATES = {"ok", "note", "absent", "fault"}


def by_name(findings: Sequence[CheckResult]) -> dict[str, CheckResult]:
    return {finding.name: finding for finding in findings}


def test_the_command_says_that_all_is_well_and_what_it_did() -> None:
    """The whole of it, in a process of its own, with its self-test."""
    command = [sys.executable, "-m", "audiostyle", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert (record["usable"], record["audiostyle"]) == (True, audiostyle.__version__)
    found = {finding["name"]: finding for finding in record["findings"]}
    assert {finding["state"] for finding in record["findings"]} <= STATES
    assert found["numpy"]["text"].startswith(importlib.metadata.version("numpy") + " (")
    assert found["WAV"]["state"] == found["FLAC"]["state"] == "ok"
    assert found["vgg19.npz"]["state"] == found["musicnn-tagger.npz"]["state"] == "ok"
    assert found["TensorFlow"]["text"].startswith(importlib.metadata.version("tensorflow"))
    assert found["precision"]["text"].split(":")[0] in ("float32", "bfloat16")
    assert "styled in" in found["self-test"]["text"]
    sections = [finding["section"] for finding in record["findings"]]
    assert sections == sorted(sections, key=sections.index)  # each in one piece


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a checkup find what a test says, and nothing else."""

    def find(*findings: CheckResult) -> None:
        monkeypatch.setattr(
            checks, "run_checks", lambda self_test: checks.DoctorReport([*findings] * self_test)
        )

    return find


def test_a_fault_is_exit_code_4_and_is_named_in_the_end(
    only: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    fault = CheckResult("TensorFlow", "TensorFlow", "fault", "cannot be imported", "reinstall it")
    only(CheckResult("packages", "numpy", "ok", "2.0"), fault)
    assert call("doctor") == 4
    assert capsys.readouterr().out.splitlines() == [
        "packages",
        "  ok     numpy       2.0",
        "",
        "TensorFlow",
        "  fault  TensorFlow  cannot be imported",
        "                     -> reinstall it",
        "",
        "audiostyle cannot be used: TensorFlow",
    ]
    assert call("doctor", "--json") == 4
    assert json.loads(capsys.readouterr().out)["findings"][1]["remedy"] == "reinstall it"
    assert call("doctor", "--no-self-test") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "audiostyle can be used"


def test_notes_and_absent_extras_are_no_fault(only: Callable[..., None]) -> None:
    only(CheckResult("a", "b", "note", "c"), CheckResult("a", "d", "absent", "e"))
    assert doctor_runner.run_doctor(as_json=False, self_test=True, publish=lambda text: None) == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise SystemExit(3)", "ended its process with code 3 ()"),
        ("1 / 0", "ended its process with code 1 (ZeroDivisionError: division by zero)"),
        ("os.kill(os.getpid(), 9)", "ended its process with signal 9"),
        ("time.sleep(60)", "did not end within 1 s"),
    ],
)
@pytest.mark.parametrize("spoken", [False, True])
def test_a_tensorflow_that_takes_its_process_with_it_is_one_row(
    code: str, text: str, spoken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`spoken`: TensorFlow was imported, and it is the self-test that ends the process."""
    folder = tmp_path / "audiostyle"
    (folder / "doctor").mkdir(parents=True)
    first = '{"section": "TensorFlow", "name": "TensorFlow", "state": "ok", "text": "9"}'
    (folder / "__init__.py").touch()
    (folder / "doctor" / "__init__.py").touch()
    (folder / "doctor" / "selftest.py").write_text(
        "import os, sys, time\ndef main(self_test):\n"
        f"    print({first if spoken else 'noise'!r}, flush=True)\n    {code}\n"
    )
    monkeypatch.setattr(checks, "__file__", str(folder / "doctor" / "checks.py"))
    *before, end = checks.run_selftest(seconds=1 if "sleep" in code else 60)
    assert len(before) == spoken
    assert (end.name, end.state) == ("self-test" if spoken else "TensorFlow", "fault")
    assert end.text == text


def test_a_folder_is_not_searched_for_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "PROBE_SECONDS", 60)
    assert "fault" not in {finding.state for finding in checks.run_selftest(self_test=False)}


@pytest.mark.parametrize("module", [None, "broken"])
def test_a_tensorflow_that_is_missing_or_broken_is_one_row(
    module: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(quiet: bool = True) -> Any:
        raise ImportError("libcudart.so:\n cannot open shared object file")

    if module is None:
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        monkeypatch.setattr(selftest.device, "load_tensorflow", lambda: __import__("tensorflow"))
    else:
        monkeypatch.setattr(selftest.device, "load_tensorflow", fail)
    said: list[CheckResult] = []
    selftest.run_selftest_checks(True, said.append)
    (finding,) = said
    assert (finding.state, finding.name) == ("fault", "TensorFlow")
    assert "cannot be imported (" in finding.text
    assert "\n" not in finding.text
    assert "pip install" in finding.remedy


@pytest.mark.parametrize(
    ("y", "losses", "wrong"),
    [
        (np.full(22_050, 0.1, np.float32), (2, 1), ""),
        (None, (2, 1), "the result has the shape None"),
        (np.zeros(5, np.float32), (2, 1), "the result has the shape (5,), not (22050,)"),
        (np.full(22_050, np.nan, np.float32), (2, 1), "not finite"),
        (np.full(22_050, 2.0, np.float32), (2, 1), "above full scale"),
        (np.full(22_050, 0.1, np.float32), (1, 2), "the loss went from 1 to 2, not down"),
        ("content", (2, 1), "the result is the content itself"),
        (RuntimeError("no\nmemory"), (2, 1), "RuntimeError: no memory"),
    ],
)
def test_the_self_test_looks_at_what_comes_out(
    y: Any, losses: tuple[int, ...], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transfer(content: Any, *_: Any) -> Any:
        if isinstance(y, Exception):
            raise y
        history = [SimpleNamespace(total=float(loss)) for loss in losses]
        return SimpleNamespace(y=content if isinstance(y, str) else y, history=history)

    module = types.ModuleType("audiostyle.core.transfer")
    module.transfer = transfer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "audiostyle.core.transfer", module)
    finding = selftest.transfer_a_second()
    assert finding.state == ("fault" if wrong else "ok")
    assert wrong in finding.text


# --- packages -----------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, CheckResult]]:
    """Check packages against metadata that a test writes."""

    def check(*needed: str, python: str = ">=3.10", **versions: str) -> dict[str, CheckResult]:
        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(packages, "requires", lambda name: list(needed))
        monkeypatch.setattr(packages, "read_metadata", lambda name: {"Requires-Python": python})
        monkeypatch.setattr(packages, "version", version)
        return by_name(list(packages.check_packages()))

    return check


def test_ranges_are_those_of_the_metadata(installed: Callable[..., dict[str, CheckResult]]) -> None:
    found = installed(
        "fits<3,>=1", "old>=2", "new<3", "gone>=1", fits="2.9rc1", old="1.9", new="3.0"
    )
    assert [found[name].state for name in ("fits", "old", "new", "gone")] == [
        "ok",
        "note",
        "note",
        "fault",
    ]
    assert found["old"].text == "1.9 (>=2)"
    assert found["gone"].remedy == "pip install 'gone>=1'"


def test_extras_may_be_absent_and_those_of_developers_are_left_out(
    installed: Callable[..., dict[str, CheckResult]],
) -> None:
    found = installed(
        'ray<3,>=2; extra == "ray"',
        'tensorflow[and-cuda]>=2; extra == "cuda"',
        'pytest; extra == "dev"',
        'audiostyle[ray]; extra == "dev"',
        "tomli; python_version < '3'",
        tensorflow="2.16",
    )
    assert found["ray (ray)"].state == "absent"
    assert found["ray (ray)"].remedy == "pip install 'audiostyle[ray]'"
    assert found["tensorflow[and-cuda] (cuda)"].state == "ok"
    assert set(found) == {"audiostyle", "python", "ray (ray)", "tensorflow[and-cuda] (cuda)"}


def test_a_python_out_of_range_is_a_fault(installed: Callable[..., dict[str, CheckResult]]) -> None:
    found = installed("fits", python="<3", fits="1")
    assert (found["python"].state, found["fits"].text) == ("fault", "1")


def test_without_metadata_there_are_no_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "requires", fail)
    found = by_name(list(packages.check_packages()))
    assert (found["ranges"].state, found["python"].state) == ("note", "ok")


def test_without_packaging_the_rest_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    found = by_name(list(packages.check_packages()))
    assert (found["packaging"].state, found["audiostyle"].state) == ("fault", "ok")


# --- system, formats, weights -------------------------------------------------------------------


def test_wsl_and_windows_get_their_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.platform, "release", lambda: "5.15.90.1-Microsoft-standard-WSL2")
    assert "/mnt" in by_name(list(checks.check_system()))["WSL"].text
    monkeypatch.setattr(checks.sys, "platform", "win32")
    assert "wsl --install" in by_name(list(checks.check_system()))["Windows"].remedy


def test_threads_that_a_process_may_not_use_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks.device, "count_cores", lambda: 2)
    monkeypatch.setattr(checks.os, "cpu_count", lambda: 64)
    assert by_name(list(checks.check_system()))["threads"].text.startswith("2 cores of 64:")


@pytest.mark.parametrize(
    ("free", "state"), [(None, "ok"), (1 << 29, "note"), (checks.MEMORY_BYTES, "ok")]
)
def test_little_memory_is_noted(
    free: int | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "available_memory", lambda: free)
    assert by_name(list(checks.check_resources()))["memory"].state == state


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux")
def test_memory_is_no_more_than_the_machine_has() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    free = checks.available_memory()
    assert free is not None
    assert 0 < free <= total


def test_a_container_counts_with_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "MemTotal: 9 kB\nMemAvailable: 3000 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    monkeypatch.setattr(checks.memory, "memory_limits", lambda: {"memory": 1_500_000})
    assert checks.available_memory() == 1_500_000
    (finding, *_) = checks.check_resources()
    assert (finding.name, finding.state) == ("memory", "fault")
    monkeypatch.setattr(checks.memory, "memory_limits", dict)
    assert checks.available_memory() == 3000 << 10
    text = ""
    assert checks.available_memory() is None


def test_a_disk_that_is_full_or_locked_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 20))
    assert by_name(list(checks.check_resources()))["this folder"].state == "note"
    monkeypatch.setattr(checks.tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    monkeypatch.setattr(checks.os, "getcwd", lambda: str(tmp_path / "none"))
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: open(folder))
    found = by_name(list(checks.check_resources()))
    assert (found["temporary files"].state, found["this folder"].state) == ("fault", "note")
    assert "No such file" in found["this folder"].text


def test_formats_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    found = by_name(list(formats.check_formats()))
    assert [found[name].state for name in formats.FORMATS] == ["ok"] * 5
    real = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda file: (real(file)[0][:9], 8000))
    text = by_name(list(formats.check_formats()))["WAV"].text
    assert text == "read back as 9 samples at 8000 Hz, not 22050 at 22050 Hz"
    monkeypatch.setattr(soundfile, "read", lambda file: (0 * real(file)[0], 22_050))
    assert "off in level" in by_name(list(formats.check_formats()))["OGG"].text

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("Unknown\nformat")

    monkeypatch.setattr(soundfile, "write", fail)
    found = by_name(list(formats.check_formats()))
    assert (found["WAV"].state, found["MP3"].state) == ("fault", "note")
    assert found["MP3"].text == "neither read nor written (Unknown format)"


def test_without_libsndfile_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (finding,) = formats.check_formats()
    assert (finding.name, finding.state) == ("libsndfile", "fault")


def test_weights_that_were_touched_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in weights.WEIGHTS_DIR.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(weights, "WEIGHTS_DIR", tmp_path)
    data = bytearray((tmp_path / "vgg19.npz").read_bytes())
    data[1000] ^= 1
    (tmp_path / "vgg19.npz").write_bytes(data)
    (tmp_path / "musicnn-vgg.npz").unlink()
    found = by_name(list(checks.check_weights()))
    assert "is corrupt (its SHA-256" in found["vgg19.npz"].text
    assert "cannot be read" in found["musicnn-vgg.npz"].text
    assert [f.state for f in found.values()].count("fault") == 2
    (tmp_path / "MANIFEST.json").unlink()
    (finding,) = checks.check_weights()
    assert (finding.name, finding.state) == ("manifest", "fault")
