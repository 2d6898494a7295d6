"""What all tests of networks share."""

import pytest

from tests.support.draws import quick_draws


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Networks are built by the hundred, and of their first weights only the distribution matters."""
    with quick_draws():
        yield
