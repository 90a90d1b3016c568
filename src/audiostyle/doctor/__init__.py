"""Checks of an installation, and a self-test in a process of its own.

May import `audiostyle.core` and the packages below it.
"""
