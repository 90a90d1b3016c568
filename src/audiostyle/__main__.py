"""Run the command line as ``python -m audiostyle``."""

from audiostyle.cli import main

main()
