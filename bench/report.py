"""Measure what reports take: time to make them, size, and how soon a browser can use them.

Makes its own sounds and records (nothing is transferred), writes the page of a pair and that of a
batch, and opens both in a headless Chromium::

    python -m bench.report -o report
    python -m bench.report --pairs 10000

Everything goes to ``report.json``, the table to ``report.md`` and to standard output. Times in the
browser begin with the navigation; docs/reports.md says what each number is. Needs playwright (in
the extra ``dev``) and a Chromium on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiostyle.batch import results
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import TERMS
from audiostyle.report import write
from audiostyle.utils.atomic_files import file_digest, record_path
from bench import machine, synth
from bench.arguments import make_parser, whole
from bench.phrases import Note

SR = 22_050
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SOUNDS = 12  # different ones; every file is a copy of one of them
CONTENTS = 40
STEPS = 20
Row = dict[str, Any]

# When the first row of the table was painted, or the first picture of a pair.
READY = """() => new Promise((done) => requestAnimationFrame(() => setTimeout(
  () => done(performance.now()))))"""
SORT = """(key) => new Promise((done) => {
  const began = performance.now();
  document.querySelector(`th[data-key=${key}] button`).click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""
FILTER = """(text) => new Promise((done) => {
  const began = performance.now();
  const field = document.querySelector("[data-filter=text]");
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""
OPEN = """() => new Promise((done) => {
  const began = performance.now();
  document.querySelector(".pairs .open").click();
  requestAnimationFrame(() => setTimeout(() => {
    const took = performance.now() - began;
    document.querySelector("dialog").close();
    done(took);
  }));
})"""
SCROLL = """() => new Promise((done) => {
  const box = document.querySelector(".tall");
  const times = [];
  let last = performance.now();
  let frames = 0;
  const step = () => {
    const now = performance.now();
    if (frames > 0) times.push(now - last);
    last = now;
    box.scrollTop += 300;
    frames += 1;
    if (frames < 180) requestAnimationFrame(step);
    else done(times);
  };
  box.scrollIntoView();
  requestAnimationFrame(step);
})"""


def make_sounds(folder: Path, seconds: float) -> list[Path]:
    """Synthesise the different sounds.

    Parameters
    ----------
    folder : Path
    seconds : float

    Returns
    -------
    list of Path
    """
    rng = np.random.default_rng(0)
    names = ("strings", "pluck", "organ", "reed")
    timbres = [name for name in names if name in synth.TIMBRES] or list(synth.TIMBRES)
    paths = []
    for i in range(SOUNDS):
        starts = np.sort(rng.uniform(0, max(seconds - 1.0, 0.5), max(2, round(2 * seconds))))
        notes = [
            Note(float(at), 0.6, int(rng.integers(48, 84)), float(rng.uniform(0.4, 0.9)))
            for at in starts
        ]
        y = synth.render(notes, timbres[i % len(timbres)], SR, seed=i)
        y = np.resize(y, round(seconds * SR)) + 1e-3 * rng.standard_normal(round(seconds * SR))
        path = folder / f"{i}.wav"
        sf.write(path, 0.5 * y / np.abs(y).max(), SR)
        paths.append(path)
    return paths


def make_record(content: Path, style: Path, output: Path, seconds: float) -> Row:
    """Put together what a transfer would have written beside its output."""

    def clip(path: Path, digest: str) -> Row:
        samples = round(seconds * SR)
        return {"path": str(path), "sha256": digest, "sr": SR, "channels": 1, "samples": samples}

    losses = [
        {"step": i, "total": 1.2 * 0.9**i, "layers": {"block1_conv1": 0.8**i}, "seconds": 0.4 * i}
        | {term: (k + 1) / 40 * 0.9**i for k, term in enumerate(TERMS)}
        for i in range(STEPS + 1)
    ]
    digest = file_digest(output)
    return {
        "audiostyle": "bench",
        "status": "complete",
        "output": clip(output, digest),
        "content": clip(content, file_digest(content)) | {"start_sample": 0},
        "styles": [{"path": str(style), "clips": [clip(style, file_digest(style))]}],
        "preset": "balanced",
        "parameters": TransferConfig().to_dict(),
        "weights": {"network": "none"},
        "losses": losses,
        "stopped": "iterations",
        "timings": {"optimization": 8.0, "inversion": 5.0},
        "notes": [],
    }


def make_batch(root: Path, n: int, seconds: float) -> Path:
    """Write the folder of a batch of `n` pairs that was never computed."""
    sounds = make_sounds(root, seconds)
    folder = root / "out"
    for path in (folder, root / "contents", root / "styles"):
        path.mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for i in range(n):
        content = root / "contents" / f"jazz.{i % CONTENTS:05d}.wav"
        style = root / "styles" / f"classical.{i // CONTENTS:05d}.wav"
        output = folder / f"{content.stem}__{style.name}"
        for k, path in enumerate((content, style, output)):
            if not path.exists():
                shutil.copyfile(sounds[(i + k) % SOUNDS], path)
        record_path(output).write_text(json.dumps(make_record(content, style, output, seconds)))
        rows.append(
            {"pair": output.name, "status": "done", "kind": "", "reason": "", "seconds": 13.0}
            | {"content": str(content), "style": str(style)}
            | {"content_genre": "jazz", "style_genre": "classical"}
            | {"score_score": round(float(rng.uniform(0.3, 0.9)), 4)}
        )
    results.write_results(folder, rows)
    return folder


def timed(work: Callable[[], Any]) -> float:
    """Return how long something takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_browser(browser: Any, page_path: Path, batch: bool, repeats: int) -> Row:
    """Open a page afresh several times, and use it.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
    page_path : Path
    batch : bool
        Whether it has a table.
    repeats : int

    Returns
    -------
    dict of str to float
        Medians in milliseconds; of the frames also the 95th percentile and the longest.
    """
    ready, sort, find, opened, frames = [], [], [], [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(page_path.as_uri())
        ready.append(page.evaluate(READY))
        if batch:
            sort += [page.evaluate(SORT, key) for key in ("score", "name", "loss")]
            find += [page.evaluate(FILTER, text) for text in ("00001", "")]
            opened.append(page.evaluate(OPEN))
            frames += page.evaluate(SCROLL)
        context.close()
    row: Row = {"usable_ms": statistics.median(ready), "usable_worst_ms": max(ready)}
    if batch:
        row |= {"sort_ms": statistics.median(sort), "filter_ms": statistics.median(find)}
        row |= {"details_ms": statistics.median(opened), "frame_ms": statistics.median(frames)}
        row |= {"frame_95_ms": float(np.percentile(frames, 95)), "frame_worst_ms": max(frames)}
    return row


def render(found: dict[str, Row]) -> str:
    """Write the table in Markdown."""
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in names:
        cells = (f"{row[name]:.4g}" if name in row else "" for row in found.values())
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = make_parser(__doc__, "python -m bench.report")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"))
    parser.add_argument("--pairs", type=whole(), default=1000)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of every sound")
    parser.add_argument("--repeats", type=whole(), default=5)
    options = parser.parse_args(arguments)
    path = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if path is None:
        print(f"no browser: none of {', '.join(BROWSERS)} is on the PATH", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    found: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        root = Path(name)
        folder = make_batch(root, options.pairs, options.seconds)
        one = sorted(folder.glob("*.wav"))[0]
        as_root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if as_root else []
        )
        for label, source in (("pair", one), (f"{options.pairs} pairs", folder)):
            page = root / f"{source.stem}.html"
            seconds = timed(lambda s=source, p=page: write.write_report(s, p))  # type: ignore[misc]
            size = page.stat().st_size / 1e6
            seen = measure_browser(browser, page, source is folder, options.repeats)
            found[label] = {"made_s": seconds, "size_mb": size, **seen}
        version = browser.version
        browser.close()
    table = render(found)
    about = {"machine": machine.describe(), "browser": version, "found": found}
    options.output.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")
    options.output.with_suffix(".md").write_text(table)
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
