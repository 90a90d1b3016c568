"""Checks of an installation, and a self-test that runs in its own process.

May import `audiostyle.core` and the packages below it.
"""
