"""Measure HTML reports: time to write them, their size, and how soon a browser can use them.

Makes its own audio files and records, without any transfer. Writes the report of a pair, that of
nine takes of one content and that of a batch, and opens them in a headless Chromium::

    python -m bench.report -o report
    python -m bench.report --pairs 10000

Writes ``report.json`` and a table, to ``report.md`` and standard output. Times in the browser start
with the navigation; docs/reports.md explains the figures. Needs playwright (in the extra ``dev``)
and Chromium on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiostyle.batch import results
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import TERMS
from audiostyle.report import write
from audiostyle.utils.atomic_files import file_digest, record_path
from bench.common import MAX_SECONDS, describe_machine, integer, make_parser, markdown_table, number
from bench.quality import synthesizer
from bench.quality.phrases import Note

SR = 22_050
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TIMBRES = ("strings", "pluck", "organ", "oboe")
SOUNDS = 12  # different ones; every file is a copy of one of them
CONTENTS = 40
STEPS = 20
TAKES = 9
Row = dict[str, Any]

# JavaScript that returns times in ms, each until the frame after the change was painted.
READY = """() => new Promise((done) => requestAnimationFrame(() => setTimeout(
  () => done(performance.now()))))"""
DECODED = "() => player.output.ready.then(() => performance.now())"
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
    const elapsed = performance.now() - began;
    document.querySelector("dialog").close();
    done(elapsed);
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


def write_sounds(folder: Path, seconds: float) -> list[Path]:
    """Synthesize the different sounds."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(SOUNDS):
        starts = np.sort(rng.uniform(0, max(seconds - 1.0, 0.5), max(2, round(2 * seconds))))
        notes = [
            Note(float(at), 0.6, int(rng.integers(48, 84)), float(rng.uniform(0.4, 0.9)))
            for at in starts
        ]
        y = synthesizer.synthesize(notes, TIMBRES[i % len(TIMBRES)], SR, seed=i)
        y = np.resize(y, round(seconds * SR)) + 1e-3 * rng.standard_normal(round(seconds * SR))
        path = folder / f"{i}.wav"
        sf.write(path, 0.5 * y / np.abs(y).max(), SR)
        paths.append(path)
    return paths


def make_record(content: Path, style: Path, output: Path, seconds: float) -> Row:
    """Make the record that a transfer would have written."""

    def clip(path: Path) -> Row:
        samples = round(seconds * SR)
        digest = file_digest(path)
        return {"path": str(path), "sha256": digest, "sr": SR, "channels": 1, "samples": samples}

    losses = [
        {"step": i, "total": 1.2 * 0.9**i, "layers": {"block1_conv1": 0.8**i}, "seconds": 0.4 * i}
        | {term: (k + 1) / 40 * 0.9**i for k, term in enumerate(TERMS)}
        for i in range(STEPS + 1)
    ]
    return {
        "audiostyle": "bench",
        "status": "complete",
        "output": clip(output),
        "content": clip(content) | {"start_sample": 0},
        "styles": [{"path": str(style), "clips": [clip(style)]}],
        "preset": "balanced",
        "parameters": TransferConfig().to_dict(),
        "weights": {"network": "none"},
        "losses": losses,
        "stopped": "iterations",
        "timings": {"optimization": 8.0, "inversion": 5.0},
        "notes": [],
    }


def write_batch(root: Path, n: int, seconds: float) -> Path:
    """Write the folder of a batch of `n` pairs, without computing it."""
    sounds = write_sounds(root, seconds)
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


def write_takes(root: Path, seconds: float) -> Path:
    """Write takes of one content that differ in strength, without computing them."""
    folder = root / "takes"
    folder.mkdir()
    content, style, *takes = sorted(root.glob("*.wav"))
    for i in range(TAKES):
        strength = (i + 1) / 10
        output = folder / f"take__strength={strength}.wav"
        shutil.copyfile(takes[i], output)
        record = make_record(content, style, output, seconds)
        record["parameters"]["strength"] = strength
        record_path(output).write_text(json.dumps(record))
    return folder


def measure_browser(browser: Any, path: Path, has_table: bool, repeats: int) -> Row:
    """Open a page several times in fresh contexts, and use it; return medians in ms."""
    ready, decoded, sort, find, opened, frames = [], [], [], [], [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(path.as_uri())
        ready.append(page.evaluate(READY))
        if not has_table:
            decoded.append(page.evaluate(DECODED))
        if has_table:
            sort += [page.evaluate(SORT, key) for key in ("score", "name", "loss")]
            find += [page.evaluate(FILTER, text) for text in ("00001", "")]
            opened.append(page.evaluate(OPEN))
            frames += page.evaluate(SCROLL)
        context.close()
    row: Row = {"usable_ms": statistics.median(ready), "usable_worst_ms": max(ready)}
    if decoded:
        row["decoded_ms"] = statistics.median(decoded)
    if has_table:
        row |= {"sort_ms": statistics.median(sort), "filter_ms": statistics.median(find)}
        row |= {"details_ms": statistics.median(opened), "frame_ms": statistics.median(frames)}
        row |= {"frame_95_ms": float(np.percentile(frames, 95)), "frame_worst_ms": max(frames)}
    return row


def format_pages(found: dict[str, Row]) -> str:
    """Format the measurements in Markdown, one column per page."""
    names = dict.fromkeys(name for row in found.values() for name in row)
    lines = [
        [name.replace("_", " ")]
        + [f"{row[name]:.4g}" if name in row else "" for row in found.values()]
        for name in names
    ]
    return markdown_table(["", *found], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser, length = make_parser("bench.report", __doc__), number(1.0, MAX_SECONDS, "s")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"), metavar="NAME")
    parser.add_argument("--pairs", type=integer(), default=1000)
    parser.add_argument("--seconds", type=length, default=30.0, help="length of every sound")
    parser.add_argument("--repeats", type=integer(), default=5)
    options = parser.parse_args(arguments)
    executable = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if executable is None:
        print(f"no browser: none of {', '.join(BROWSERS)} is on the PATH", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    found: dict[str, Row] = {}
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        root = Path(name)
        folder = write_batch(root, options.pairs, options.seconds)
        pair = min(folder.glob("*.wav"))
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"] if is_root else []
        )
        takes = write_takes(root, options.seconds)
        pages = {"pair": pair, f"{TAKES} takes": takes, f"{options.pairs} pairs": folder}
        for label, source in pages.items():
            page = root / f"{source.stem}.html"
            began = time.perf_counter()
            write.write_report(source, page)
            size = {"made_s": time.perf_counter() - began, "size_mb": page.stat().st_size / 1e6}
            has_table = source is folder
            found[label] = size | measure_browser(browser, page, has_table, options.repeats)
        version = browser.version
        browser.close()
    about = {"machine": describe_machine(), "browser": version, "found": found}
    options.output.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")
    text = format_pages(found)
    options.output.with_suffix(".md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
