"""Batches: inputs, pairs, plan, journal, engines and results.

May import `audiostyle.evaluation` and the packages below it; `audiostyle.batch.ray` may import
`audiostyle.batch`.
"""
