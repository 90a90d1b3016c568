"""A checkup as a person asks for it: a table or JSON, and the exit code. No parsing."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby

from audiostyle.doctor import checks
from audiostyle.doctor.checks import DoctorReport

NOT_USABLE = 4  # as `audiostyle batch` leaves where device, disk or a package is missing


def run_doctor(*, as_json: bool, self_test: bool, publish: Callable[[str], None]) -> int:
    """Examine this machine, and publish what was found.

    Parameters
    ----------
    as_json : bool
    self_test : bool
    publish : callable
        Gets all of the text at once.

    Returns
    -------
    int
        0 if audiostyle can be used here, else 4.
    """
    checkup = checks.run_checks(self_test)
    text = json.dumps(checkup.to_record(), indent=2) + "\n" if as_json else render(checkup)
    publish(text)
    return 0 if checkup.usable else NOT_USABLE


def render(checkup: DoctorReport) -> str:
    """Lay a checkup out for people.

    Parameters
    ----------
    checkup : Checkup

    Returns
    -------
    str
        A line a finding under a heading a section, remedies below; ends with a new line.
    """
    lines: list[str] = []
    width = max((len(finding.name) for finding in checkup.findings), default=0)
    for section, findings in groupby(checkup.findings, lambda finding: finding.section):
        lines += [*([""] if lines else []), section]
        for one in findings:
            lines.append(f"  {one.state:<6} {one.name:<{width}}  {one.text}")
            if one.remedy:
                lines.append(f"  {'':<6} {'':<{width}}  -> {one.remedy}")
    faults = [finding.name for finding in checkup.findings if finding.state == "fault"]
    verdict = f"cannot be used: {', '.join(faults)}" if faults else "can be used"
    return "\n".join([*lines, "", f"audiostyle {verdict}"]) + "\n"
