"""A few of the attacks are part of every test run; `make attack` makes them all."""

from collections.abc import Iterator

import pytest

from tests.attack.target import Target, target
from tests.attack.victim import Victim


@pytest.fixture(scope="session")
def hifitse() -> Iterator[Target]:
    """The command line, in processes of its own."""
    with target() as found:
        yield found


@pytest.fixture(scope="session")
def victim(hifitse: Target, tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """Runs, a model and recordings, and what every command makes of them before anything is done to them."""
    return Victim(hifitse, tmp_path_factory.mktemp("victim"))
