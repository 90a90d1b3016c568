"""The command line: one module per command, shared options, and progress display.

May import every other package; no package imports it.
"""
