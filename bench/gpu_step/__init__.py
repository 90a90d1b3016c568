"""Benchmark of one optimisation step on any device of JAX; see `bench.gpu_step.__main__`.

`export` needs audiostyle and TensorFlow. `run` needs only JAX and NumPy.
"""
