"""What all tests share."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _a_cache_folder_of_our_own(tmp_path_factory):
    """What the program finds out about the machine is kept for the tests alone, and not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
