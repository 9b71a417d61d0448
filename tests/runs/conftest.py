"""What tests of steps share."""

import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import clinfit
from clinfit.runs.cluster import connect
from executed import without_report
from ray_nodes import free_port
from spoiled import spoil_workers


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[Callable[..., None]]:
    """Figures of a page are made but not drawn, which is half the time of a small run; tests/report looks at them. A
    test that asks for `drawn` has them. Gives what draws."""
    from matplotlib.figure import Figure

    draw = Figure.savefig

    def empty(figure: Figure, target: Any, **options: Any) -> None:
        if isinstance(target, io.StringIO):
            target.write('<svg viewBox="0 0 1 1"></svg>')
        else:
            draw(figure, target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", empty)
        yield draw


@pytest.fixture
def drawn(undrawn: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn, as for users."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", undrawn)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end behind their last step: no metrics, no report, no packs."""
    without_report(monkeypatch)


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Lets worker processes do something when they fit the model `keyword`; "" lets them alone again."""
    place = tmp_path / "spoiled"
    place.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield partial(spoil_workers, place)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path of all nodes; what `spoil` writes is copied into it."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def cluster(site: Path) -> Iterator[Any]:
    """A head that does no steps, and two nodes of one CPU. RAY_ADDRESS names it, as on a machine of a real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path(clinfit.__file__).parents[1])]))
        for name, value in connect.SETTINGS.items():
            patch.setenv(name, value)
        for name in ("RAY_enable_worker_prestart", "RAY_prestart_worker_first_driver"):
            patch.setenv(name, "0")  # no processes ahead of work
        patch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "180")  # for one client's process, beside other tests
        from ray.cluster_utils import Cluster

        port = free_port()
        head = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False, "ray_client_server_port": port}
        found: Any = Cluster(initialize_head=True, head_node_args=head)
        found.client = f"127.0.0.1:{port}"
        for _ in range(2):
            found.add_node(num_cpus=1)
        patch.setenv("RAY_ADDRESS", found.address)
        yield found
        found.shutdown()
