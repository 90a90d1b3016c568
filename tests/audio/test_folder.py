"""Files of a folder: the clips, and why every other file is left out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiostyle.audio import folder
from audiostyle.audio.folder import find_clips, list_folder, summarize_skipped
from audiostyle.errors import AudioFileError

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def reasons(found: folder.FolderFiles, root: Path) -> dict[str, str]:
    return {os.path.relpath(e["path"], root): e["reason"] for e in found.skipped}


def test_clips_are_sorted_and_every_other_file_has_a_reason(tmp_path: Path) -> None:
    names = ["b.wav", "a.FLAC", "sub/deep/c.mp3", "z.aif"]
    others = {
        **dict.fromkeys(("._b.wav", ".hidden.wav", ".git/d.wav", ".git/e/f.txt"), "hidden"),
        **dict.fromkeys(("notes.txt", "wav", "sub/cover.jpg", "x.json"), "unknown format"),
        **dict.fromkeys(("b.wav.json", "sub/journal.jsonl"), "written by audiostyle"),
        "jazz.style.npz": "style file",
    }
    touch(tmp_path, *names, *others, "out/b__c.wav", "folder.wav/.x")
    found = list_folder(tmp_path, tmp_path / "out")
    assert found.clips == sorted(tmp_path / name for name in names)
    expected = {**others, "out": "in the output folder", "folder.wav/.x": "hidden"}
    assert reasons(found, tmp_path) == {str(Path(name)): why for name, why in expected.items()}


def test_a_hidden_folder_is_taken_by_name(tmp_path: Path) -> None:
    touch(tmp_path, ".clips/a.wav")
    assert find_clips(tmp_path / ".clips").clips == [tmp_path / ".clips" / "a.wav"]


def test_a_folder_without_clips_is_refused_and_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"holds no audio files .*\(no files at all\)"):
        find_clips(tmp_path)
    touch(tmp_path, "a.txt")
    with pytest.raises(AudioFileError, match=r"left out 1 file: 1 unknown format \(a\.txt\)"):
        find_clips(tmp_path)


@links
def test_links_are_followed_and_loops_refused(tmp_path: Path) -> None:
    touch(tmp_path, "store/jazz/a.wav", "store/b.wav")
    root = tmp_path / "links"
    root.mkdir()
    targets = {"jazz": "../store/jazz", "b.wav": "../store/b.wav", "gone.wav": "nowhere.wav"}
    targets |= {"self.wav": "self.wav", "above": "..", "here": "."}
    for name, target in targets.items():
        (root / name).symlink_to(target)
    (tmp_path / "store/jazz/back").symlink_to("../../links")
    found = find_clips(root)
    assert found.clips == [root / "b.wav", root / "jazz" / "a.wav"]
    assert reasons(found, root) == {
        **dict.fromkeys(("gone.wav", "self.wav"), "broken link"),
        **dict.fromkeys(("above", "here", str(Path("jazz", "back"))), "loop of links"),
    }


@links
def test_folders_that_link_each_other_are_listed_in_polynomial_time(tmp_path: Path) -> None:
    n = 9  # there are about e (n - 1)! n paths through all links
    for i in range(n):
        touch(tmp_path, f"{i}/a.wav")
        for j in set(range(n)) - {i}:
            (tmp_path / f"{i}/to {j}").symlink_to(f"../{j}")
    found = find_clips(tmp_path)
    direct = {tmp_path / f"{i}/to {j}/a.wav" for i in range(n) for j in range(n) if i != j}
    assert direct | {tmp_path / f"{i}/a.wav" for i in range(n)} <= set(found.clips)
    assert len(found.clips) < 3 * n**2
    assert set(reasons(found, tmp_path).values()) == {
        "link to a folder listed already",
        "loop of links",
    }


@links
def test_links_behind_links_are_followed(tmp_path: Path) -> None:
    for i in range(5):
        touch(tmp_path, f"store/{i}/a.wav")
        (tmp_path / f"store/{i}/next").symlink_to(f"../{i + 1}")
    found = find_clips(tmp_path / "store/0")
    below = Path(*["next"] * 4)
    assert tmp_path / "store/0" / below / "a.wav" in found.clips and len(found.clips) == 5
    assert reasons(found, tmp_path / "store/0") == {str(below / "next"): "broken link"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert reasons(find_clips(tmp_path), tmp_path) == {"pipe.wav": "not a regular file"}


def test_folders_and_files_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.wav", "closed/b.wav")
    real = os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reasons(find_clips(tmp_path), tmp_path) == {"closed": "unreadable"}

    def is_file() -> bool:
        raise PermissionError(13, "Permission denied")

    entry: Any = SimpleNamespace(path="a.wav", is_file=is_file)
    assert folder._fault(entry) == ""  # it is not left out: reading it reports the error


def test_the_summary_counts_all_and_names_some() -> None:
    skipped = [{"path": f"x/{i}.txt", "reason": "unknown format"} for i in range(5)]
    skipped += [{"path": "x/.a\n", "reason": "hidden"}]
    skipped += [{"path": "x/e.wav", "reason": "x/e.wav: is empty"}]
    assert summarize_skipped(skipped, "x") == [
        "x: left out 6 files: 5 unknown format (0.txt, 1.txt, 2.txt, ...), 1 hidden ('.a\\n')",
        "skipped x/e.wav: is empty",
    ]
    assert summarize_skipped([]) == []
