"""Mel spectrograms and their inversion, segmentation of long recordings, and the mosaic.

May import `audiostyle.audio` and the packages below it.
"""
