"""Benchmarks of audiostyle, run from the root of the repository.

- ``python -m bench.quality``: how well methods transfer style, and what the inversion loses.
- ``python -m bench.speed``: time, memory, and how close a step comes to the machine's limit.
- ``python -m bench.gpu_step``: time of one optimisation step on a GPU, under JAX.
- ``python -m bench.scaling``: cost of a batch beside its transfers.
- ``python -m bench.classic``: the experiments of Gatys et al. with the preset ``classic``.
- ``python -m bench.report``: time and size of HTML reports.
"""
