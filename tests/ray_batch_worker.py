"""The command line with transfers that take no time on the workers of a Ray cluster.

python tests/ray_batch_worker.py PAUSE batch CONTENT STYLE -o OUT --engine ray ...
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from audiostyle.cli import main
from audiostyle.ray_engine import RayEngine
from tests.ray_fakes import make_fake

if __name__ == "__main__":
    RayEngine.make_worker = staticmethod(functools.partial(make_fake, float(sys.argv[1])))
    main(sys.argv[2:])
