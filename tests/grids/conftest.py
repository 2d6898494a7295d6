import pytest

import grids.run


@pytest.fixture(autouse=True)
def looking_often(monkeypatch):
    """Grids of trainings that take no time; after each, one would wait a tenth of a second for nothing."""
    monkeypatch.setattr(grids.run, "POLL_SEC", 0.02)
