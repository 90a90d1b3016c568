"""Style, content and copying scores of an output, with baselines and a table.

May import `audiostyle.files` and the packages below it.
"""
