"""The checks of an installation, on working and on broken ones."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import audiostyle
from audiostyle.cli.doctor import render_summary
from audiostyle.doctor import checks
from audiostyle.doctor.checks import CheckResult
from audiostyle.errors import OutputError
from audiostyle.nn import weights
from tests.support.fakes import call

STATES = {"ok", "note", "absent", "fault"}


def by_name(results: Iterable[CheckResult]) -> dict[str, CheckResult]:
    return {result.name: result for result in results}


@pytest.mark.slow
def test_the_command_runs_all_checks_and_the_self_test() -> None:
    command = [sys.executable, "-m", "audiostyle", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert (record["usable"], record["audiostyle"]) == (True, audiostyle.__version__)
    found = {result["name"]: result for result in record["findings"]}
    assert {result["state"] for result in record["findings"]} <= STATES
    assert found["numpy"]["text"].startswith(importlib.metadata.version("numpy") + " (")
    assert found["WAV"]["state"] == found["FLAC"]["state"] == "ok"
    assert found["vgg19.npz"]["state"] == found["musicnn-tagger.npz"]["state"] == "ok"
    assert found["TensorFlow"]["text"].startswith(importlib.metadata.version("tensorflow"))
    assert found["precision"]["text"].split(":")[0] in ("float32", "bfloat16")
    assert "styled in" in found["self-test"]["text"]
    sections = [result["section"] for result in record["findings"]]
    assert sections == sorted(sections, key=sections.index)  # each is contiguous


@pytest.fixture
def fake_results(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the results of all checks."""

    def replace(*results: CheckResult) -> None:
        monkeypatch.setattr(checks, "run_checks", lambda self_test: [*results] * self_test)

    return replace


def test_a_fault_gives_exit_code_4_and_is_named_on_the_last_line(
    fake_results: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    fault = CheckResult("TensorFlow", "TensorFlow", "fault", "cannot be imported", "reinstall it")
    fake_results(
        CheckResult("packages", "audiostyle", "ok", "1"),
        CheckResult("packages", "numpy", "ok", "2.0 (<3)"),
        CheckResult("packages", "ray (ray)", "absent", "for ray", "pip install it"),
        fault,
    )
    assert call("doctor") == 4
    assert capsys.readouterr().out.splitlines() == [
        "packages",
        "  ok     audiostyle 1, numpy 2.0",
        "  absent ray (ray): for ray -> pip install it",
        "",
        "TensorFlow",
        "  fault  TensorFlow: cannot be imported -> reinstall it",
        "",
        "Details: audiostyle doctor -v",
        "",
        "audiostyle cannot be used: TensorFlow",
    ]
    fake_results(CheckResult("packages", "numpy", "ok", "2.0"), fault)
    assert call("doctor", "-v") == 4
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
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "audiostyle can be used; the self-test was skipped"
    )


def test_the_summary_fits_on_one_screen_and_names_what_is_not_ok() -> None:
    names = [f"package-{i}" for i in range(20)]
    results = [CheckResult("packages", name, "ok", "1.2.3 (<2)") for name in names]
    results += [CheckResult("packages", "extra", "absent", "x " * 60, "install it")]
    results += [CheckResult("system", f"check {i}", "ok", "fine") for i in range(7)]
    results += [CheckResult("formats", "MP3", "note", "off in level", "convert")]
    lines = render_summary(results).splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 80
    flat = " ".join(" ".join(lines).split())
    assert all(f"{name} 1.2.3" in flat for name in names)
    assert "absent extra: x x" in flat and "-> install it" in flat
    assert "note MP3: off in level -> convert" in flat


def test_notes_and_absent_extras_are_not_faults(fake_results: Callable[..., None]) -> None:
    fake_results(CheckResult("a", "b", "note", "c"), CheckResult("a", "d", "absent", "e"))
    assert call("doctor") == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise SystemExit(3)", "ended its process with code 3 ()"),
        ("1 / 0", "ended its process with code 1 (ZeroDivisionError: division by zero)"),
        ("os.kill(os.getpid(), 9)", "ended its process with signal 9"),
        ("time.sleep(60)", "did not end within 1 s"),
    ],
)
@pytest.mark.parametrize("imported", [False, True])
def test_a_tensorflow_that_ends_its_process_is_one_result(
    code: str, text: str, imported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If TensorFlow was `imported`, the self-test ended the process."""
    folder = tmp_path / "audiostyle"
    (folder / "doctor").mkdir(parents=True)
    first = '{"section": "TensorFlow", "name": "TensorFlow", "state": "ok", "text": "9"}'
    (folder / "__init__.py").touch()
    (folder / "doctor" / "__init__.py").touch()
    (folder / "doctor" / "selftest.py").write_text(
        "import os, sys, time\ndef main(self_test):\n"
        f"    print({first if imported else 'noise'!r}, flush=True)\n    {code}\n"
    )
    monkeypatch.setattr(checks, "__file__", str(folder / "doctor" / "checks.py"))
    *before, end = checks.run_selftest(seconds=1 if "sleep" in code else 60)
    assert len(before) == imported
    assert (end.name, end.state) == ("self-test" if imported else "TensorFlow", "fault")
    assert end.text == text


def test_modules_in_the_current_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "SELFTEST_SECONDS", 60)
    assert "fault" not in {result.state for result in checks.run_selftest(self_test=False)}


# --- packages -----------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, CheckResult]]:
    """Check packages against the given metadata and versions."""

    def check(
        *requirements: str, python: str = ">=3.10", **versions: str
    ) -> dict[str, CheckResult]:
        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(checks, "requires", lambda name: list(requirements))
        monkeypatch.setattr(checks, "read_metadata", lambda name: {"Requires-Python": python})
        monkeypatch.setattr(checks, "version", version)
        return by_name(checks.check_packages())

    return check


def test_versions_are_compared_with_the_ranges_of_the_metadata(
    installed: Callable[..., dict[str, CheckResult]],
) -> None:
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


def test_extras_may_be_absent_and_developer_extras_are_skipped(
    installed: Callable[..., dict[str, CheckResult]],
) -> None:
    found = installed(
        'ray<3,>=2; extra == "ray"',
        'pytest; extra == "dev"',
        'audiostyle[ray]; extra == "dev"',
        "tomli; python_version < '3'",
        tensorflow="2.16",
    )
    assert found["ray (ray)"].state == "absent"
    assert found["ray (ray)"].remedy == "pip install 'audiostyle[ray]'"
    assert set(found) == {"audiostyle", "python", "ray (ray)"}


def test_an_extra_of_a_package_is_there_if_all_that_it_adds_is(
    installed: Callable[..., dict[str, CheckResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {
        "audiostyle": ['tensorflow[and-cuda]>=2; extra == "cuda"'],
        "tensorflow": ["absl", 'cublas; extra == "and-cuda"', 'cudnn; extra == "and-cuda"'],
    }
    for more, state in (((), "absent"), (("cublas",), "absent"), (("cublas", "cudnn"), "ok")):
        installed(tensorflow="2.16", **dict.fromkeys(more, "1"))
        monkeypatch.setattr(checks, "requires", lines.__getitem__)
        result = by_name(checks.check_packages())["tensorflow[and-cuda] (cuda)"]
        missing = {(): "cublas and 1 more", ("cublas",): "cudnn"}.get(more, "")
        assert result.state == state and result.text.endswith(missing)
        assert result.remedy == ("" if state == "ok" else "pip install 'audiostyle[cuda]'")


def test_an_extra_whose_packages_are_too_old_is_not_there(
    installed: Callable[..., dict[str, CheckResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {
        "audiostyle": ['tensorflow[and-cuda]>=2; extra == "cuda"'],
        "tensorflow": ['cudnn<10,>=9; extra == "and-cuda"'],
    }
    for found, state in (("8.9", "absent"), ("9.3", "ok")):
        installed(tensorflow="2.16", cudnn=found)
        monkeypatch.setattr(checks, "requires", lines.__getitem__)
        result = by_name(checks.check_packages())["tensorflow[and-cuda] (cuda)"]
        assert (result.state, "cudnn<10,>=9" in result.text) == (state, state == "absent")


def test_a_python_out_of_range_is_a_fault(installed: Callable[..., dict[str, CheckResult]]) -> None:
    found = installed("fits", python="<3", fits="1")
    assert (found["python"].state, found["fits"].text) == ("fault", "1")


def test_without_metadata_the_ranges_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(checks, "requires", fail)
    found = by_name(checks.check_packages())
    assert (found["ranges"].state, found["python"].state) == ("note", "ok")


def test_without_packaging_the_report_still_names_audiostyle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    found = by_name(checks.check_packages())
    assert (found["packaging"].state, found["audiostyle"].state) == ("fault", "ok")


# --- system, formats, weights -------------------------------------------------------------------


def test_wsl_and_windows_get_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.platform, "release", lambda: "5.15.90.1-Microsoft-standard-WSL2")
    assert "/mnt" in by_name(checks.check_system())["WSL"].text
    monkeypatch.setattr(checks.sys, "platform", "win32")
    assert "wsl --install" in by_name(checks.check_system())["Windows"].remedy


def test_only_the_cores_that_the_process_may_use_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks.device, "count_cores", lambda: 2)
    monkeypatch.setattr(checks.os, "cpu_count", lambda: 64)
    assert by_name(checks.check_system())["threads"].text.startswith("2 cores of 64:")


@pytest.mark.parametrize(
    ("free", "state"), [(None, "ok"), (1 << 29, "note"), (checks.MEMORY_BYTES, "ok")]
)
def test_little_memory_is_noted(
    free: int | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "available_memory", lambda: free)
    assert by_name(checks.check_resources())["memory"].state == state


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux")
def test_available_memory_is_at_most_that_of_the_machine() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    free = checks.available_memory()
    assert free is not None
    assert 0 < free <= total


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "MemTotal: 9 kB\nMemAvailable: 3000 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    monkeypatch.setattr(checks.memory, "memory_limits", lambda: {"memory": 1_500_000})
    assert checks.available_memory() == 1_500_000
    (result, *_) = checks.check_resources()
    assert (result.name, result.state) == ("memory", "fault")
    monkeypatch.setattr(checks.memory, "memory_limits", dict)
    assert checks.available_memory() == 3000 << 10
    text = ""
    assert checks.available_memory() is None


def test_a_full_or_unwritable_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 20))
    assert by_name(checks.check_resources())["this folder"].state == "note"
    monkeypatch.setattr(checks.tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    monkeypatch.setattr(checks.os, "getcwd", lambda: str(tmp_path / "none"))
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: open(folder))
    found = by_name(checks.check_resources())
    assert (found["temporary files"].state, found["this folder"].state) == ("note", "note")
    assert "No such file" in found["this folder"].text


def test_folders_that_are_not_there_are_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(checks.tempfile, "gettempdir", fail)
    monkeypatch.setattr(checks.os, "getcwd", fail)
    # Nobody can create a folder below a file, not even root.
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    found = by_name(checks.check_resources())
    for name, remedy in (("temporary files", "TMPDIR"), ("this folder", "write"), ("home", "HOME")):
        assert (found[name].state, remedy in found[name].remedy) == ("note", True)


def test_every_format_is_written_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    found = by_name(checks.check_formats())
    assert [found[name].state for name in checks.FORMATS] == ["ok"] * 5
    real = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda file: (real(file)[0][:9], 8000))
    text = by_name(checks.check_formats())["WAV"].text
    assert text == "read back as 9 samples at 8000 Hz, not 22050 at 22050 Hz"
    monkeypatch.setattr(soundfile, "read", lambda file: (0 * real(file)[0], 22_050))
    assert "off in level" in by_name(checks.check_formats())["OGG"].text

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("Unknown\nformat")

    monkeypatch.setattr(soundfile, "write", fail)
    found = by_name(checks.check_formats())
    assert (found["WAV"].state, found["MP3"].state) == ("fault", "note")
    assert found["MP3"].text == "neither read nor written (Unknown format)"


def test_ffmpeg_and_its_decoders_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    result = by_name(checks.check_formats())["FFmpeg"]
    assert result.state == "ok" and f"PyAV {av.__version__}" in result.text
    monkeypatch.setattr(av, "codecs_available", {"aac", "mp3float", "opus", "amrnb"})
    result = by_name(checks.check_formats())["FFmpeg"]
    assert (result.state, result.text.endswith("without decoders of WMA")) == ("note", True)
    monkeypatch.setitem(sys.modules, "av", None)
    result = by_name(checks.check_formats())["FFmpeg"]
    assert (result.state, result.remedy) == ("fault", "pip install --force-reinstall av")


def test_figures_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    result = checks.check_figures()
    assert (result.name, result.state) == ("figures", "ok")

    def fail() -> None:
        raise OutputError("figures cannot be drawn: set MPLCONFIGDIR")

    monkeypatch.setattr(checks, "load_matplotlib", fail)
    assert "MPLCONFIGDIR" in checks.check_figures().text
    monkeypatch.setattr(checks, "load_matplotlib", lambda: 1 / 0)
    result = checks.check_figures()
    assert (result.state, "--plot" in result.remedy) == ("note", True)


def test_an_interpreter_that_cannot_be_started_is_one_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.sys, "executable", str(tmp_path / "none"))
    (result,) = checks.run_selftest()
    assert (result.name, result.state) == ("TensorFlow", "fault")
    assert result.text == f"cannot start {tmp_path / 'none'} (No such file or directory)"


def test_a_missing_libsndfile_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (result,) = checks.check_formats()
    assert (result.name, result.state) == ("libsndfile", "fault")


def test_modified_weights_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in weights.WEIGHTS_DIR.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(weights, "WEIGHTS_DIR", tmp_path)
    data = bytearray((tmp_path / "vgg19.npz").read_bytes())
    data[1000] ^= 1
    (tmp_path / "vgg19.npz").write_bytes(data)
    (tmp_path / "musicnn-vgg.npz").unlink()
    found = by_name(checks.check_weights())
    assert "is corrupt (its SHA-256" in found["vgg19.npz"].text
    assert "cannot be read" in found["musicnn-vgg.npz"].text
    assert [f.state for f in found.values()].count("fault") == 2
    (tmp_path / "MANIFEST.json").unlink()
    (result,) = checks.check_weights()
    assert (result.name, result.state) == ("manifest", "fault")
