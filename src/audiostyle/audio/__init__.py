"""Reading, writing, probing and resampling of audio, and its level and loudness, in blocks.

May import `audiostyle.config` and `audiostyle.utils`.
"""
