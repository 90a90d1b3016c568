"""Ray engine: workers on a cluster, a job queue, and file transfer without a shared folder.

May import `audiostyle.batch` and the packages below it.
"""
