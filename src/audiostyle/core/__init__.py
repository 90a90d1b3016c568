"""Style transfer of arrays and streams: analyse, optimise, synthesise.

May import `audiostyle.nn`, `audiostyle.dsp` and the packages below them. Never prints.
"""
