"""Mel spectrograms and their inversion, segmentation of long recordings, levels by notes.

May import `audiostyle.audio` and the packages below it.
"""
