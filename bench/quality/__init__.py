"""Benchmark of quality, on pairs with known answers and on recordings.

`synthetic` and `sampled` make pairs with a known target from `phrases`, by the `synthesizer` and
its `timbres` or by FluidSynth; `known_answers` measures methods on them by `target_metrics`.
`recordings` chooses, loads and measures pairs of clips. `runs` runs methods, and `tables` formats
the means.
"""
