"""Workers of a Ray cluster for tests: transfers that take no time, and contents that kill."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from audiostyle.batch_request import BatchRequest
from audiostyle.config import TransferConfig
from audiostyle.workshop import Workshop
from tests.fakes import install

KILL_ONCE = "kill-once"
KILL_ALWAYS = "kill-always"


class DeadlyWorkshop(Workshop):
    """Dies on a pair if a file beside its content says so, as of a fault in native code."""

    def make(self, job: Any, callback: Any) -> dict[str, Any]:
        def watch(event: Any) -> Any:
            content = Path(job.pair.content.path)
            once = content.with_suffix(f".{KILL_ONCE}")
            if getattr(event, "step", None) == 1:
                if once.exists():
                    once.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
                if content.with_suffix(f".{KILL_ALWAYS}").exists():
                    os.kill(os.getpid(), signal.SIGKILL)
            return callback(event)

        return super().make(job, watch)


def make_fake(pause: float, request: BatchRequest, config: TransferConfig) -> Workshop:
    """Make a worker whose transfers take three times `pause` seconds."""
    assert "tensorflow" not in sys.modules
    request.threads = 0  # which would load it
    install(setattr).pause = pause
    return DeadlyWorkshop(request, config)
