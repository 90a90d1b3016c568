"""The command line with a fake transfer, as a process that a test can kill.

python tests/support/batch_worker.py PAUSE batch CONTENT STYLE -o OUT ...
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from audiostyle.cli.main import main
from tests.support.fakes import install

if __name__ == "__main__":
    install(setattr).pause = float(sys.argv[1])
    main(sys.argv[2:])
