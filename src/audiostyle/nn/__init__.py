"""Neural networks in TensorFlow: their weights, style statistics, losses and the optimiser.

May import `audiostyle.dsp` and the packages below it.
"""
