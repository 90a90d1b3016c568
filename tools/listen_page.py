"""Make the results in ``examples/results`` and the page to listen to them, ``docs/listen.html``.

    python tools/listen_page.py [--page-only]

Every pair is styled by ``audiostyle transfer --deterministic``, evaluated, and put on the page.
With ``--page-only``, the results stay as they are. Credits come from ``examples/ATTRIBUTION.md``.
The transfer of ``make demo`` also draws ``docs/demo.png``.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

import audiostyle
from audiostyle.report import html, pair_page, records, sounds
from audiostyle.report.records import PairRecord

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, RESULTS = Path("examples"), Path("examples", "results")
PAGE, PICTURE = Path("docs", "listen.html"), Path("docs", "demo.png")
IMAGE_SIZE = 600, 256  # columns and bands of a spectrogram
MAX_SOUND_BYTES = 10**6
LINK = re.compile(r"\[(.*?)\]\((.*?)\)")


class Pair(NamedTuple):
    """A content and a style in ``examples/``, without suffix, and what to say about them."""

    content: str
    style: str
    title: str
    remark: str

    @property
    def result(self) -> Path:
        """The output, relative to the root of the repository."""
        return RESULTS / f"{self.content}-as-{self.style}.ogg"


class Clip(NamedTuple):
    """A row of ``examples/ATTRIBUTION.md``."""

    title: tuple[str, str]  # with the URL of the recording
    author: str
    licence: tuple[str, str]  # with its URL
    changes: str


PAIRS = (
    Pair(
        "jazz",
        "orchestra",
        "Jazz in the style of an orchestra",
        "The notes and the beat stay. The overtones of strings fill the range from 1 to 5 kHz.",
    ),
    Pair(
        "song",
        "orchestra",
        "A song in the style of an orchestra",
        "The notes of guitar and voice stay. Above 5 kHz the result is as soft as the orchestra.",
    ),
    Pair(
        "orchestra",
        "jazz",
        "An orchestra in the style of jazz",
        "The first pair the other way round: the overtones of the strings become weak.",
    ),
)


def make_result(pair: Pair) -> None:
    """Style the content of a pair; the demo's pair is plotted as well."""
    inputs = [str(EXAMPLES / f"{name}.ogg") for name in (pair.content, pair.style)]
    command = [sys.executable, "-m", "audiostyle", "transfer", *inputs, "-o", str(pair.result)]
    command += ["--deterministic", "--force"]
    plots = pair is PAIRS[0]
    subprocess.run([*command, "--plot", str(PICTURE)] if plots else command, check=True)
    if plots:
        picture = Image.open(PICTURE).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


def read_credits() -> dict[str, Clip]:
    """Read the table of ``examples/ATTRIBUTION.md``: clips by file name."""
    found = {}
    for line in (EXAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            name, title, author, licence, changes = cells
            links = [LINK.fullmatch(cell) for cell in (title, licence)]
            assert all(links), f"ATTRIBUTION.md: a link is missing in {line}"
            title_link, licence_link = ((m[1], m[2]) for m in links if m)
            found[name.strip("`")] = Clip(title_link, author, licence_link, changes)
    return found


def evaluate(record: PairRecord) -> list[tuple[str, str, str]]:
    """Evaluate a pair; return the main numbers: name, value, and meaning."""
    content, style, result = (record.sounds[role].path for role in records.ROLES)
    assert content and style and result
    report = audiostyle.evaluate_files(content, style, result, baselines=True)
    scores = {one.name if one.is_baseline else "": one.measures for one in report.scores}
    equalised = scores["eq_match"]["score"]
    facts = (
        ("Score", "score", f"from 0 to 1; the content with an equaliser: {equalised:.2f}"),
        ("Style taken", "style", "0 the content itself, 1 like the style itself"),
        ("Content kept", "content", "0 an unrelated clip, 1 the content itself"),
        ("Copied", "copying", "0 nothing, 1 all of it is taken from the style"),
    )
    return [(label, f"{scores[''][name]:.2f}", meaning) for label, name, meaning in facts]


def pair_values(pair: Pair, record: PairRecord, clips: dict[str, Clip]) -> dict[str, Any]:
    """Return what the template shows of a pair."""
    names = (f"{pair.content}.ogg", f"{pair.style}.ogg")
    loaded = {
        role: dataclasses.replace(one, wave=one.wave[:, :0])
        for role, one in sounds.load_sounds(record, record.config).items()
    }
    assert not any(one.reason for one in loaded.values())
    command = ["audiostyle transfer", *(f"examples/{name}" for name in names)]
    return dict(
        title=pair.title,
        remark=pair.remark,
        content=clips[names[0]],
        style=clips[names[1]],
        command=" ".join([*command, "-o", pair.result.name]),
        facts=evaluate(record),
        player=pair_page.make_player(loaded, PAGE, MAX_SOUND_BYTES, record.config, IMAGE_SIZE),
    )


def make_page() -> bytes:
    """Evaluate the results, and lay out the page."""
    clips = read_credits()
    collection = records.collect([pair.result for pair in PAIRS])
    pairs = [
        pair_values(pair, record, clips)
        for pair, record in zip(PAIRS, collection.pairs, strict=True)
    ]
    files = {
        sound.name: sound.sha256 for record in collection.pairs for sound in record.sounds.values()
    }
    record = collection.pairs[0].record
    made = {
        "audiostyle": record["audiostyle"],
        "date of the transfers": record["time"][:10],
        "preset": record["preset"],
        "device": f"{record['device']}, {record['precision']}",
    }
    made |= {key: record["versions"][key] for key in ("python", "tensorflow", "librosa")}
    changes = {f"examples/{name}": clip.changes for name, clip in clips.items()}
    return html.render_page(
        "listen.html.j2",
        ("player.js", "copy.js", "listen.js"),
        folder=Path(__file__).parent,
        pairs=pairs,
        made=list(made.items()),
        files=[(name, sha256, changes.get(name, "a result")) for name, sha256 in files.items()],
    )


def main() -> None:
    """Make what the arguments ask for."""
    parser = argparse.ArgumentParser(description="Make examples/results and docs/listen.html.")
    parser.add_argument("--page-only", action="store_true", help="Keep the results.")
    page_only = parser.parse_args().page_only
    os.chdir(ROOT)  # records name the files as a command there does
    if not page_only:
        for pair in PAIRS:
            make_result(pair)
    page = make_page()
    PAGE.write_bytes(page)
    print(f"{PAGE}: {len(page) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
