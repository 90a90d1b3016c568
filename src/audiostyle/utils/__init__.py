"""Atomic file output, safe reading, stderr capture, interrupts, memory limits and suggestions.

Imports `audiostyle.errors` only.
"""
