"""Atomic file output, safe reading, stderr capture, interrupts and memory limits.

Imports `audiostyle.errors` only.
"""
