"""HTML pages of pairs and batches, charts, players, and the live page.

May import `audiostyle.batch` and the packages below it.
"""
