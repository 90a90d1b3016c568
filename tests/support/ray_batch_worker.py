"""The command line with transfers that take no time on the workers of a Ray cluster.

python tests/support/ray_batch_worker.py PAUSE batch CONTENT STYLE -o OUT --engine ray ...
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from audiostyle.batch.ray.engine import RayEngine
from audiostyle.cli.main import main
from tests.support.ray_fakes import make_fake

if __name__ == "__main__":
    RayEngine.make_worker = staticmethod(functools.partial(make_fake, float(sys.argv[1])))
    main(sys.argv[2:])
