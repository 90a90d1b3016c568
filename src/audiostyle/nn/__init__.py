"""Networks, their weights, style statistics, losses, and the optimiser, all in TensorFlow.

May import `audiostyle.dsp` and the packages below it.
"""
