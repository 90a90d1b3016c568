"""Write the figures of README and docs from the results in ``docs/figures``.

    python tools/figures.py
    python tools/figures.py --measure

Each region ``<!-- figures: NAME -->`` ... ``<!-- end -->`` of a page is replaced by the table NAME.
The results are what the benches wrote: ``quality.json`` of ``bench.quality``, ``some.json`` and
``ablations.json`` of the same with other methods, ``speed*.json`` of ``bench.speed`` (a section may
be in any of them), ``install.json`` of ``tools/install_size.py``, and ``evaluate.json`` and
``compare.json``, which ``--measure`` makes: it runs the commands again, for some minutes.
``--check`` writes nothing, and exits with 1 if a page is out of date.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.common import describe_machine, format_number, markdown_table  # noqa: E402
from bench.speed import tables as speed_tables  # noqa: E402

SOURCE = ROOT / "docs" / "figures"
REGION = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
CLIPS = "examples/pluck.flac examples/strings.flac"
TRANSFER = f"audiostyle transfer {CLIPS} -o out.wav"
EVALUATE = f"audiostyle evaluate {CLIPS} out.wav --baselines"
FAST, SOFT = (
    f'audiostyle batch "examples/*.ogg" "examples/*.ogg" -o {what} --duration 5 --evaluate'
    for what in ("fast --preset fast", "soft --strength 0.3")
)
COMPARE = "audiostyle compare fast soft"
PAIRS, PAIR_SECONDS, PRICE = 10_000, 30, 0.05  # GTZAN jazz x classical; per core hour
NAMES = {
    "identity": "the content itself",
    "style_copy": "the style itself",
    "mix": "50:50 mix of both clips",
    "eq_match": "content with the style's long-term EQ",
    "best_static_eq": "best static EQ (knows the answer)",
    "balanced:iterations=0": "the start alone (`iterations=0`)",
    "second_take": "second take of the target",
    "inversion as by balanced": "the target, inverted as a transfer inverts",
}


def load(name: str) -> Any:
    """Load results."""
    return json.loads((SOURCE / name).read_text(encoding="utf-8"))


def about(command: str, *machines: dict[str, Any]) -> str:
    """Name the command, the machines and the days of a measurement."""
    days: dict[str, set[str]] = {}
    for machine in machines:
        bfloat16 = " with bfloat16" if "avx512_bf16" in machine["flags"] else ""
        name = f"{machine['cpu']}, {machine['cores_usable']} cores{bfloat16}"
        days.setdefault(name, set()).add(machine["date"][:10])
    where = "; ".join(f"{name}; {', '.join(sorted(dates))}" for name, dates in days.items())
    text = f"Printed by {command} ({where})."
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False) + "\n"


# --- quality -----------------------------------------------------------------------------------


def quality(
    kind: str,
    columns: dict[str, str],
    names: tuple[str, ...],
    plain: tuple[str, ...],
    others: tuple[str, ...] = (),
) -> str:
    """Make a table of means with 95 % intervals, but in the columns `plain`.

    The rows `others` are those of another run, on some of the pairs (``some.json``).
    """
    found = load("quality.json")[kind]

    def cell(values: list[float] | int | None, measure: str) -> str:
        if isinstance(values, int):
            return str(values)
        if not values:
            return ""
        digits = 1 if measure in ("lsd", "lsd_frames") else 2
        mean, low, high = (format_number(value, digits) for value in values)
        return mean if measure in plain or low == high else f"{mean} [{low}, {high}]"

    def row(label: str, own: dict[str, Any]) -> list[str]:
        return [label, *(cell(own.get(measure), measure) for measure in columns.values())]

    rows = [row(NAMES.get(name, f"`{name}`"), found["methods"][name]) for name in names]
    commands, machines = [f"`{found['command']}`"], [found["machine"]]
    if others:
        some = load("some.json")[kind]
        label = f"on {some['pairs']} of the pairs"
        rows += [row(f"`{name}`, {label}", some["methods"][name]) for name in others]
        commands.append(f"`{some['command']}`")
        machines.append(some["machine"])
    return markdown_table(["", *columns], rows) + "\n" + about(" and ".join(commands), *machines)


def recordings() -> str:
    """Make the long table of recordings."""
    columns = {"score": "score", "style": "style", "network": "style_network"}
    columns |= {"content": "content", "notes": "content_notes", "copying": "copying"}
    plain = ("style_network", "content_notes", "copying")
    return quality("recordings", columns, ("mix", "eq_match", "classic", "balanced"), plain)


def known(kind: str) -> str:
    """Make the long table of pairs with known answers."""
    columns = {"LSD, dB": "lsd", "less by": "lsd less by"}
    columns |= {"frames, dB": "lsd_frames", "frames less by": "lsd_frames less by"}
    columns |= {"notes": "notes", "nearest": "lsd_frames won"}
    names = ("identity", "eq_match", "best_static_eq", "balanced:iterations=0", "balanced")
    names += ("inversion as by balanced", "second_take")
    return quality(kind, columns, names, ("lsd", "lsd_frames", "notes"), ("classic",))


def ablations() -> str:
    """Make the table of changes to `balanced`."""
    found = load("ablations.json")
    recorded, sampled = found["recordings"], found["sampled"]
    rows = []
    for name, own in recorded["methods"].items():
        if name.startswith("balanced"):
            row = [f"`{name.partition(':')[2] or name}`"]
            row += [f"{own[m][0]:.2f}" for m in ("score", "style", "content", "content_notes")]
            rows.append([*row, f"{sampled['methods'][name]['lsd less by'][0]:.2f}"])
    lsd = f"{sampled['pairs']} sampled pairs: LSD less by"
    head = [f"{recorded['pairs']} recordings:", "score", "style", "content", "notes", lsd]
    text = markdown_table(head, rows)
    return text + "\n" + about(f"`{recorded['command']}`", recorded["machine"])


# --- speed -------------------------------------------------------------------------------------


def speed_record(section: str) -> dict[str, Any]:
    """Return the latest results of `bench.speed` that hold a section."""
    records = [load(path.name) for path in SOURCE.glob("speed*.json")]
    return max((r for r in records if section in r), key=lambda r: str(r["machine"]["date"]))


def speed_about(section: str) -> str:
    """Name command, machine and day of a section."""
    record = speed_record(section)
    plan, command = record["plan"], f"python -m bench.speed --only {section}"
    if section == "growth":
        command += " --growth " + " ".join(f"{minutes:g}" for minutes in plan["growth"])
    else:
        command += f" --presets {' '.join(plan['presets'])}"
    if section == "command":
        command += f" --seconds {' '.join(f'{s:g}' for s in plan['seconds'])}"
        command += f" --repeats {plan['repeats']}"
    return about(f"`{command}`", record["machine"])


def speed(section: str) -> str:
    """Make the table of a section as `bench.speed` does."""
    record = speed_record(section)
    rows = [row for row in record[section] if "error" not in row]
    text = getattr(speed_tables, f"{section}_section")(record, rows)
    return text.partition("\n\n")[2] + "\n" + speed_about(section)


def quality_short() -> str:
    """Make the table of the README: scores of recordings, and distances to known answers."""
    found = load("quality.json")
    rows = []
    for name in ("mix", "eq_match", "best_static_eq", "classic", "balanced"):
        row = [NAMES.get(name, f"`{name}`")]
        for measure in ("score", "style", "content", "copying"):
            values = found["recordings"]["methods"].get(name, {}).get(measure)
            row.append(f"{values[0]:.2f}" if values else "")
        for kind in ("synthetic", "sampled"):
            values = found[kind]["methods"].get(name, {}).get("lsd less by")
            row.append(f"{100 * values[0]:.0f} %" if values else "")
        rows.append(row)
    nearer = ("nearer to the answer: synthetic", "sampled")
    return markdown_table(["", "score", "style", "content", "copied", *nearer], rows)


def speed_short() -> str:
    """Make the table of the README."""
    rows = []
    for row in speed_record("command")["command"] + speed_record("growth")["growth"]:
        minutes = row.get("minutes")
        asked = minutes == 60 if minutes else round(row["seconds"]) == 30
        if not asked or row["preset"] not in ("balanced", "fast") or "error" in row:
            continue
        what = f"{minutes:g} min of 44.1 kHz stereo" if minutes else "30 s in the style of 30 s"
        total = f"{row['total']:.3g} s" if row["total"] < 100 else f"{row['total'] / 60:.3g} min"
        ratio, peak = f"{row['real_time_factor']:.2f}", f"{row['peak'] / 1e9:.1f} GB"
        rows.append([f"{what}, `{row['preset']}`", total, ratio, peak])
    text = markdown_table(["", "time", "time / length", "memory"], rows)
    machines = [one["machine"] for one in load("quality.json").values()]
    machines += [speed_record(name)["machine"] for name in ("command", "growth")]
    return text + "\n" + about("`python -m bench.quality` and `python -m bench.speed`", *machines)


def cost() -> str:
    """Calculate what 10,000 pairs take from the table of the command."""
    record = speed_record("command")
    (row,) = (
        one
        for one in record["command"]
        if one["preset"] == "balanced" and round(one["seconds"]) == PAIR_SECONDS
    )
    cores = record["machine"]["cores_usable"]
    seconds = row["steps"] * row["step"] + row["inversion"] + row["rest"]
    hours = PAIRS * seconds / 3600
    rows = [
        [f"{tasks} x {cores} cores", f"{hours / tasks:.1f} h", f"{hours * cores * PRICE:.2f}"]
        for tasks in (1, 16, 64)
    ]
    text = (
        f"{row['steps']} steps, inversion and end of a pair of {PAIR_SECONDS} s with `balanced` "
        f"take {seconds:.1f} s in the [table of the command](performance.md#results). What comes "
        "before the first step is left out, because a batch does most of it once. That is "
        f"{3600 / seconds:.0f} pairs per hour, and {hours * cores:.0f} core hours in all."
    )
    head = ["workers", "time", f"at {PRICE} per core hour"]
    return f"{textwrap.fill(text, 118, break_long_words=False)}\n\n{markdown_table(head, rows)}"


# --- the bundled clips, and the installation ---------------------------------------------------


def evaluation() -> str:
    """Show the whole output of the command."""
    found = load("evaluate.json")
    note = about(f"this command after `{TRANSFER}`", found["machine"])
    return f"```\n$ {EVALUATE}\n{found['output']}```\n\n{note}"


def comparison() -> str:
    """Show the whole output of the comparison of two batches."""
    found = load("compare.json")
    note = about(f"this command after `{FAST}` and `{SOFT}`", found["machine"])
    return f"```\n$ {COMPARE}\n{found['output']}```\n\n{note}"


def evaluation_short() -> str:
    """Show the means of the output of the command."""
    found = load("evaluate.json")
    lines = found["output"].splitlines()
    head = next(i for i, line in enumerate(lines) if line.lstrip().startswith("out.wav"))
    names = ("mean", "the larger", "score ")
    kept = [line for line in lines[head:] if line.strip().startswith(names)]
    labels = ("style", "content", "copied", "score")
    columns = [line.split()[-5:] for line in kept]
    rows = [[label, *values] for label, values in zip(labels, columns, strict=True)]
    return markdown_table(["", *lines[head].split()], rows)


def install() -> str:
    """Tell the size of an installation."""
    found = load("install.json")
    return (
        f"The download is {found['download_mb']} MB ({found['tensorflow_mb']} of it TensorFlow, "
        f"{found['wheel_mb']:.0f} audiostyle with its weights),\n"
        f"and the installation takes {found['disk_mb'] / 1000:.1f} GB on disk "
        f"({found['system']}; `{found['command']}`, {found['date']}).\n"
    )


TABLES: dict[str, Callable[[], str]] = {
    "install": install,
    "evaluation": evaluation,
    "comparison": comparison,
    "ablations": ablations,
    "cost": cost,
    "evaluation_short": evaluation_short,
    "recordings": recordings,
    "synthetic": lambda: known("synthetic"),
    "sampled": lambda: known("sampled"),
    "quality_short": quality_short,
    "speed_command": lambda: speed("command"),
    "speed_limit": lambda: speed("limit"),
    "speed_growth": lambda: speed("growth"),
    "speed_short": speed_short,
}


def fill(text: str) -> str:
    """Replace every region of a page."""
    return REGION.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def measure() -> None:
    """Run the commands of the evaluation in a temporary folder, and keep their output."""
    runs = {"evaluate.json": (TRANSFER, EVALUATE), "compare.json": (FAST, SOFT, COMPARE)}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "examples").symlink_to(ROOT / "examples")
        for file, commands in runs.items():
            for command in commands:
                words = [sys.executable, "-m", *shlex.split(command)]
                if command != COMPARE:
                    words.append("--quiet")
                done = subprocess.run(
                    words, cwd=name, stdout=subprocess.PIPE, text=True, check=True
                )
            found = {"machine": describe_machine(), "output": done.stdout}
            text = json.dumps(found, indent=1) + "\n"
            (SOURCE / file).write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write or check the pages."""
    if "--measure" in arguments:
        measure()
    stale = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            stale.append(page.name)
            if "--check" not in arguments:
                page.write_text(filled, encoding="utf-8")
    if "--check" in arguments and stale:
        print(f"out of date: {', '.join(stale)}; run python tools/figures.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
