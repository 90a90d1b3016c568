"""Run the command line: ``audiostyle``, or ``python -m audiostyle``."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from audiostyle.cli.main import main


def run() -> NoReturn:
    """Run the command line and exit."""
    try:
        main()
    except SystemExit as error:
        if "tensorflow" in sys.modules and isinstance(error.code, int):
            _leave(error.code)
        raise
    sys.exit(0)


def _leave(code: int) -> None:
    """Skip the teardown of TensorFlow and Keras, which takes more than a second."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # a closed pipe, for example: Python reports it at exit
    os._exit(code)


if __name__ == "__main__":
    run()
