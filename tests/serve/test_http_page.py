"""What the service says of itself: docs/http.md is made of it, and it names the keys that are asked for."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from clinfit.serve.openapi import METHODS
from clinfit.serve.security import Keys, new_key, read_keys

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def make_http_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_http_page", ROOT / "scripts" / "make_http_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(make_http_page: ModuleType) -> None:
    written = make_http_page.PAGE.read_text(encoding="utf-8")
    assert written == make_http_page.page(), "type: python scripts/make_http_page.py"


def test_the_links_of_the_page_lead_somewhere(make_http_page: ModuleType) -> None:
    import re

    text = make_http_page.page()
    heads = {head.lower() for head in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\(#(\w+)\)", text)) <= heads


def test_an_address_names_a_key_where_it_asks_for_one(make_client: Callable[..., TestClient], tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = new_key(file, "watch", ["metrics"])
    client = make_client(keys=Keys(read_keys(file)), works=False)
    schema = client.get("/openapi.json").json()
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    asked = 0
    for path, methods in schema["paths"].items():
        for method in set(METHODS) & set(methods):
            place = path.replace("{job_id}", "0" * 32).replace("{prediction_id}", "0" * 32)
            told = methods[method].get("security")
            assert (client.request(method, place).status_code == 401) == (told is not None), (method, path)
            if told is not None:
                (scopes,) = (entry["key"] for entry in told)
                status = client.request(method, place, headers={"authorization": f"Bearer {key}"}).status_code
                assert (status == 403) == (scopes != ["metrics"]) or method == "post", (method, path)
                asked += 1
    assert asked > 15


@pytest.mark.parametrize("path", ["/", "/live", "/ready", "/health"])
def test_watchers_may_ask_for_the_head_alone(client: TestClient, path: str) -> None:
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type"):
        assert head.headers[name] == whole.headers[name]


def test_without_keys_none_is_named(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert not any("security" in found for path in schema["paths"].values() for found in path.values())
    assert "key" in schema["components"]["securitySchemes"]
