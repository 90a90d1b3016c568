"""Benchmark of quality, on recordings and on synthetic pairs.

`recordings` chooses and loads pairs of clips; `synthetic` makes pairs with a known target from
`phrases` and `timbres` by the `synthesizer`; `runs` runs configurations, and `tables` formats the
means.
"""
