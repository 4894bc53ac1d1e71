"""What every test can rely on: no network, nothing kept outside the test, the same numbers."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

HOSTS_OF_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often tests/test_faults.py kills each stage."""
    parser.addoption("--kills", type=int, default=1, help="SIGKILLs per stage, test_faults.py")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """Kills per stage."""
    return int(request.config.getoption("--kills"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to another machine fails at once, and says so."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        is_file = self.family == socket.AF_UNIX
        if not is_file and isinstance(address, tuple) and address[0] not in HOSTS_OF_THIS_MACHINE:
            raise ConnectionRefusedError(f"a test must not reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for all tests, because creating one takes seconds."""
    return f"sqlite:///{tmp_path_factory.getbasetemp() / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def _own_tracking(monkeypatch: pytest.MonkeyPatch, mlflow_store: str) -> None:
    """A stage that is run by a test writes its MLflow run there, not into the checkout."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("DVC_STAGE", raising=False)


@pytest.fixture(autouse=True, scope="session")
def _no_store_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made once for many tests has a store of its own, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEERWISE_STORE", str(tmp_path_factory.getbasetemp() / "shared_store"))
        yield


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rows and checkpoints of a test are its own: none is found that another computed."""
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path_factory.mktemp("store")))
