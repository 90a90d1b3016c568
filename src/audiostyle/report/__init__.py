"""HTML pages of pairs and batches, and the live page of a running optimisation.

May import `audiostyle.batch` and the packages below it.
"""
