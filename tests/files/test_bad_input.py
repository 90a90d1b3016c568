"""Bad input to a transfer: one line that names file, value and remedy; nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle.cli.main import main
from audiostyle.files import transfer
from tests.conftest import SR, Array, make_noise, make_tones

Cli = Callable[..., "tuple[int, str]"]


def listing(folder: Path) -> dict[str, Any]:
    """List everything below a folder: names, kinds, contents and times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        data = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (info.st_mode, info.st_mtime_ns, data)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a content, a style and a genre, and work in it."""
    monkeypatch.chdir(tmp_path)
    sf.write("content.wav", make_tones(), SR)
    sf.write("style.wav", make_noise(), SR)
    (tmp_path / "genre").mkdir()
    sf.write("genre/a.wav", make_noise(seed=1), SR)
    sf.write("genre/b.wav", make_noise(seed=2), SR)
    return tmp_path


@pytest.fixture
def refused(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """Run the command line; expect an error before the work starts, and no change of files."""

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("the work was started")

    monkeypatch.setattr(transfer, "StyleTransfer", fail)
    monkeypatch.setattr(transfer.nn_device, "load_tensorflow", fail)

    def run(*arguments: str) -> tuple[int, str]:
        before = listing(folder)
        with pytest.raises(SystemExit) as exit_info:
            main(["transfer", *arguments])
        assert listing(folder) == before
        out, err = capfd.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1, err
        assert err.startswith("audiostyle: error: ")
        return int(exit_info.value.code or 0), err.removeprefix("audiostyle: error: ").strip()

    return run


def write_pipe(path: Path) -> None:
    os.mkfifo(path)


def write_audio(y: Array, subtype: str = "FLOAT") -> Callable[[Path], None]:
    return lambda path: sf.write(path, y, SR, subtype=subtype)


def with_value(value: float) -> Array:
    y = make_tones()
    y[1000] = value
    return y


BAD_CLIPS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "folder": (Path.mkdir, "is a folder; name an audio file|holds no audio files"),
    "empty": (Path.touch, r"is empty \(0 bytes\); copy or export it again"),
    "text": (
        lambda path: path.write_text("la la la " * 1000),
        r"is not an audio file that can be read \(Format not recognised\); convert it to WAV",
    ),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "is not an audio file .*; convert it"),
    "no-samples": (write_audio(np.zeros(0)), "holds no samples"),
    "short": (write_audio(make_tones(0.4)), r"0\.4 s is too short; at least 0\.5 s are needed"),
    "silent": (write_audio(np.zeros(SR)), r"is silent \(peak below -90 dBFS\)"),
    "nan": (write_audio(with_value(np.nan)), "holds NaN or infinite samples; repair or re-export"),
    "infinite": (write_audio(with_value(np.inf)), "holds NaN or infinite samples; repair or re"),
    "header-only": (
        lambda path: (write_audio(make_tones())(path), path.write_bytes(path.read_bytes()[:30])),
        "is not an audio file that can be read .*; convert it",
    ),
}
if hasattr(os, "mkfifo"):
    BAD_CLIPS["pipe"] = (write_pipe, "is not a regular file; save its audio to one")


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("kind", BAD_CLIPS)
def test_a_clip_that_cannot_be_used(kind: str, role: str, folder: Path, refused: Cli) -> None:
    write, message = BAD_CLIPS[kind]
    write(folder / "bad.wav")
    clips = ["bad.wav", "style.wav"] if role == "content" else ["content.wav", "bad.wav"]
    code, error = refused(*clips, "-o", "out.wav")
    assert code == 1
    assert re.match(rf"bad\.wav: .*({message})", error)


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("contnt.wav", r"contnt\.wav: no such file; did you mean content\.wav\?"),
        ("genre/c.wav", r"genre/c\.wav: no such file; did you mean genre/[ab]\.wav\?"),
        ("Qwrtz", "Qwrtz: no such file; check the name"),
        ("none/a.wav", r"none/a\.wav: no such file; there is no folder none either"),
        ("style.wav/a.wav", r"style\.wav/a\.wav: no such file"),
        (300 * "x", "xxx: cannot be read"),
    ],
)
def test_a_clip_that_is_missing(role: str, name: str, message: str, refused: Cli) -> None:
    clips = [name, "style.wav"] if role == "content" else ["content.wav", name]
    code, error = refused(*clips, "-o", "out.wav")
    assert code == 1
    assert re.search(message, error)


def link(make: Callable[[str, str], None]) -> Callable[[], None]:
    return lambda: make("content.wav", "linked.wav")


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("prepare", "output", "same"),
    [
        (None, "content.wav", "content.wav"),
        (None, "./genre/../content.wav", "content.wav"),
        (None, "style.wav", "style.wav"),
        (None, "genre/b.wav", "genre/b.wav"),
        (link(os.symlink), "linked.wav", "content.wav"),
        (link(os.link), "linked.wav", "content.wav"),
    ],
)
def test_an_output_that_is_an_input(
    prepare: Callable[[], None] | None, output: str, same: str, force: list[str], refused: Cli
) -> None:
    if prepare is not None:
        prepare()
    code, error = refused("content.wav", "style.wav", "genre", "-o", output, *force)
    assert code == 1
    expected = f"{Path(output)}: is the same file as the input {same}; choose another name"
    assert error == expected


@pytest.mark.parametrize("existing", ["out.wav", "out.wav.json", "out.png"])
def test_an_output_that_exists(existing: str, folder: Path, refused: Cli) -> None:
    (folder / existing).write_text("precious")
    code, error = refused("content.wav", "style.wav", "-o", "out.wav", "--plot", "out.png")
    assert (code, error) == (1, f"{existing}: exists already; use --force to replace it")


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_output_that_is_a_folder(force: list[str], folder: Path, refused: Cli) -> None:
    (folder / "out.wav").mkdir()
    code, error = refused("content.wav", "style.wav", "-o", "out.wav", *force)
    assert (code, error) == (1, "out.wav: is a folder; name a file in it")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "none/out.wav"], "none/out.wav: there is no folder none; create it first"),
        (
            ["-o", "style.wav/out.wav"],
            "style.wav/out.wav: cannot be created in style.wav (Not a dir",
        ),
        (["-o", "out.wav", "--plot", "none/a.png"], "none/a.png: there is no folder none"),
        (["-o", 252 * "x" + ".wav"], "(File name too long); choose another place or name"),
        (["-o", "out.wav", "--plot", "out.wav.png/a.png"], "there is no folder out.wav.png"),
        (["-o", "out.wav", "--start", "3"], "content.wav: start=3 s lies beyond its end at 1.000"),
        (
            ["-o", "out.opus"],
            "out.opus: OGG with OPUS does not support 1 channel(s) at 22050 Hz; use",
        ),
        (["-o", "out.wav", "--weights", "none.npz"], "none.npz cannot be read (No such file"),
        (["-o", "out.wav", "--weights", "style.wav"], "style.wav is neither a converted .npz nor"),
    ],
)
def test_an_impossible_task_is_a_failure(arguments: list[str], message: str, refused: Cli) -> None:
    code, error = refused("content.wav", "style.wav", *arguments)
    assert code == 1
    assert message in error


def test_a_folder_that_cannot_be_written(refused: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("audiostyle.utils.atomic_files.tempfile.mkstemp", refuse)
    code, error = refused("content.wav", "style.wav", "-o", "genre/out.wav")
    assert code == 1
    assert "genre/out.wav: cannot be created in genre (Permission denied); choose another" in error


OUT = ["-o", "out.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '-o' / '--output'; see audiostyle transfer --help"),
        ([*OUT, "--network", "vgg18"], "network 'vgg18' is not known: did you mean vgg19?"),
        ([*OUT, "--preset", "fats"], "preset 'fats' is not known: did you mean fast?"),
        ([*OUT, "--init", "nois"], "did you mean noise?"),
        ([*OUT, "--device", "gqu"], "device 'gqu' is not known: did you mean gpu?"),
        (
            [*OUT, "--device", "gpu:one"],
            "'gpu:one' is not known: choose from auto, cpu, gpu, gpu:N",
        ),
        ([*OUT, "--device", "cpu:1"], "'cpu:1' is not known: choose from"),
        ([*OUT, "--threads", "-1"], "threads=-1 must be from 0 to 1024"),
        ([*OUT, "--threads", "1025"], "threads=1025 must be from 0 to 1024"),
        ([*OUT, "--threads", "two"], "'--threads': 'two' is not a valid int"),
        ([*OUT, "--style-layers", "blok1_conv1"], "did you mean block1_conv1?"),
        ([*OUT, "--subtype", "pcm24"], "subtype 'pcm24' is not known: did you mean PCM_24?"),
        ([*OUT, "--iteration", "3"], "No such option"),
        ([*OUT, "--iterations", "-1"], "iterations=-1 must be from 0 to 100000"),
        ([*OUT, "--strength", "1.1"], "strength=1.1 must be from 0 to 1"),
        ([*OUT, "--seed", "x"], "seed='x' must be a number"),
        ([*OUT, "--config", "none.toml"], "none.toml: cannot be read (No such file"),
        ([*OUT, "--config", "style.wav"], "style.wav: is not a TOML file"),
        ([*OUT, "--start", "-1"], "start=-1 must be at least 0 seconds"),
        ([*OUT, "--start", "nan"], "start=nan must be at least 0 seconds"),
        ([*OUT, "--duration", "0.4"], "duration=0.4 must be at least 0.5 seconds"),
        ([*OUT, "--duration", "ten"], "'--duration': 'ten' is not a time: give seconds or M:SS"),
        ([*OUT, "--preview", "inf"], "preview=inf must be at least 0.5 seconds"),
        ([*OUT, "--blend", "1;2"], "blend='1;2' must be numbers separated by commas, such as 2,1"),
        ([*OUT, "--blend", "1,2"], "blend='1,2' has 2 weights for 1 style(s)"),
        ([*OUT, "--blend", "-1"], "blend=-1 must be finite and at least 0"),
        ([*OUT, "--blend", "0"], "blend=0 leaves no style: raise a weight"),
        ([*OUT, "--plot", "a.jpg"], "plot=a.jpg must end in .png"),
        (["-o", "out"], "out: has no extension; use one of .wav"),
        (["-o", "out.m4a"], "out.m4a: cannot write files with extension .m4a; use one of .wav"),
        (["-o", ""], "output '.' names no file: name one, such as out.wav"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str], message: str, refused: Cli) -> None:
    code, error = refused("content.wav", "style.wav", *arguments)
    assert code == 2
    assert message in error


@pytest.mark.parametrize("name", ["missing.wav", "genre"])
def test_a_content_that_is_not_a_file(name: str, refused: Cli) -> None:
    code, error = refused(name, "style.wav", "-o", "out.wav")
    assert code == 1
    assert error.startswith(f"{name}: ")


def test_a_folder_of_broken_clips_only(folder: Path, refused: Cli) -> None:
    for path in (folder / "genre").iterdir():
        path.write_text("la")
    code, error = refused("content.wav", "genre", "-o", "out.wav")
    assert code == 1
    assert re.match(r"genre: none of its 2 files can be used; the first: genre/a\.wav: is", error)
