"""Benchmark of speed: `processes` times fresh processes, `worker` runs inside one of them.

`signals` makes the audio, `flops` counts operations and times plain convolutions, `tables` formats
the results.
"""
