"""Parameters of a transfer, TOML files, and the registries of networks and losses.

May import `audiostyle.utils`.
"""
