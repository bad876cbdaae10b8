"""What all tests share."""

import os

import pytest

if beside := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # before torch is loaded: where all workers use all cores, their threads wait for each other longer than they work
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // beside)))


@pytest.fixture(autouse=True, scope="session")
def _a_cache_folder_of_our_own(tmp_path_factory):
    """What the program finds out about the machine is kept for the tests alone, and not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
