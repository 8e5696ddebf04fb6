"""What all tests share: where recorded data is, and that nothing is left out unseen."""

import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI") == "true"

# How long an example takes says nothing here: the machine is shared.
hypothesis.settings.register_profile(
    "wardhub", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("wardhub")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The recorded patients and device messages; never part of this repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the recorded data (../shared/data) is not on this machine")
    return folder


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a test that was left out is a failure: there everything can run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if IN_CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI=true and {len(skipped)} tests were left out: that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the browser's tests run last: its driver keeps an event loop of its own in the main thread."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
