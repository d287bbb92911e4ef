"""What the tests of benches share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def narrow_models(one_thread: None) -> None:
    """All models of these tests are narrow."""
