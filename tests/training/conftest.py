import pytest

from tests.support.lean import undrawn_figures


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """The trainings here are tenths of a second, but for what they would draw at their end."""
    with undrawn_figures():
        yield
