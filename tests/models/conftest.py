"""What all tests of networks share."""

import pytest

from tests.support.draws import quick_draws
from tests.support.thin import thin_networks


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Networks are built by the hundred, and of their first weights only the distribution matters."""
    with quick_draws():
        yield


@pytest.fixture(scope="module")
def thin():
    """Every ResNet-18 is an eighth as wide, for files whose tests do not depend on it."""
    with thin_networks():
        yield
