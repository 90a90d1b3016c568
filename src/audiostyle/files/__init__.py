"""Style transfer of files: requests, style sources and style files, records, publication.

May import `audiostyle.core` and the packages below it.
"""
