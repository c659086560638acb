"""The internal face: the service token, its routes, and what it says to calls that fit none of them."""

from __future__ import annotations

from uuid import uuid4

import aiohttp
import msgspec
import pytest
from yarl import URL

from mail_testkit.running import RunningPostroom

ACCOUNT = f"/internal/accounts/{uuid4()}"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/internal/ready", 204),
        ("GET", "/internal/nothing", 404),
        ("GET", "/internal/", 404),
        ("GET", ACCOUNT, 404),
        ("GET", f"{ACCOUNT}/mailboxes/", 404),
        ("DELETE", "/internal/ready", 405),
        ("GET", "/internal/accounts/nobody/mailboxes", 422),
        ("GET", f"{ACCOUNT}/mailboxes/{uuid4()}/changes?since=soon", 422),
        ("GET", f"{ACCOUNT}/mailboxes/{uuid4()}/changes?since=1", 404),
        ("GET", f"{ACCOUNT}/bodies/{uuid4()}?start=0", 422),
        ("POST", "/internal/resolve", 400),
        ("POST", "/internal/transmissions", 400),
    ],
)
async def test_calls(postroom: RunningPostroom, method: str, path: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {postroom.service_token}"}
    async with aiohttp.request(method, postroom.api_url + path, headers=headers, data=b"\xff\xff\xff") as response:
        assert response.status == status, await response.text()


async def test_only_the_service_token_opens_it(postroom: RunningPostroom) -> None:
    url = f"{postroom.api_url}/internal/resolve"
    for authorization in ("", f"Bearer {postroom.admin_token}", postroom.service_token, "Bearer ", "Bearer \xff"):
        headers = {"Authorization": authorization} if authorization else {}
        async with aiohttp.request("POST", url, headers=headers, data=msgspec.msgpack.encode(["a@b.test"])) as response:
            assert response.status == 401


async def test_it_is_not_described(postroom: RunningPostroom) -> None:
    async with aiohttp.request("GET", f"{postroom.api_url}/openapi.json") as response:
        paths = (await response.json())["paths"]
    assert paths
    assert not [path for path in paths if path.startswith("/internal")]


async def test_the_public_port_has_the_api_alone(postroom: RunningPostroom) -> None:
    service = {"Authorization": f"Bearer {postroom.service_token}"}
    admin = {"Authorization": f"Bearer {postroom.admin_token}"}
    for path in ("/internal/ready", "/internal/resolve", "//internal/ready", "/v1/../internal/ready"):
        # What it claims to have asked for changes nothing.
        for host in ({}, {"Host": postroom.api_url.removeprefix("http://")}):
            url = URL(postroom.public_url + path, encoded=True)
            async with aiohttp.request("GET", url, headers=service | host) as response:
                assert response.status == 404, path
    async with aiohttp.request("GET", f"{postroom.public_url}/v1/domains", headers=admin) as response:
        assert response.status == 200
    async with aiohttp.request("GET", f"{postroom.api_url}/internal/ready", headers=service) as response:
        assert response.status == 204
