"""Connection to Ray: errors of a cluster, without one."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'audiostyle[ray]'")

from audiostyle.batch.ray import connection
from audiostyle.batch.ray.cluster import Cluster
from audiostyle.errors import EngineError


def test_a_cluster_that_cannot_be_used_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = connection.import_ray()

    def refuse(**_: Any) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n  Ray: 1.0 Python: 3.6"
        )

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(EngineError, match=r"Ray cluster auto: Version mismatch: .* Python: 3\.6"):
        with connection.connected(Cluster(address="auto"), 0, False):
            pass
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("nobody")))
    with pytest.raises(EngineError, match=r"nobody.*ray start --head"):
        with connection.connected(Cluster(address="10.0.0.1:6379"), 0, False):
            pass
