"""rspamd over HTTP: `POST /checkv2` (rspamd's documentation, "protocol")."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from smtp_in.policy.filters import Action, FilterDown, Opinion
from smtp_in.policy.letter import Letter

# What rspamd's actions come to here. "greylist" asks for our greylist, which all replicas share.
ACTIONS: Final[dict[str, Action]] = {
    "no action": "accept",
    "greylist": "greylist",
    "add header": "junk",
    "rewrite subject": "junk",
    "quarantine": "junk",
    "soft reject": "defer",
    "reject": "reject",
    "discard": "reject",
}
MAX_FIELDS: Final = 50
MAX_VALUE: Final = 4_096
MAX_REPLY_OCTETS: Final = 1 << 20
_FIELD_NAME: Final = re.compile(r"[\x21-\x39\x3b-\x7e]{1,100}")
_LINE_END: Final = re.compile(r"[\r\n]+[ \t]*")
_NOT_PRINTED: Final = re.compile(r"[^\x20-\x7e\t]")


class _Milter(msgspec.Struct, frozen=True):
    add_headers: dict[str, Any] = {}


class _Reply(msgspec.Struct, frozen=True):
    action: str
    score: float = 0.0
    required_score: float = 0.0
    messages: dict[str, Any] = {}
    milter: _Milter = _Milter()


class Rspamd:
    """Use as `async with`."""

    name = "rspamd"

    def __init__(self, url: str, password: str, timeout_s: float) -> None:
        self._url, self._password = url.rstrip("/") + "/checkv2", password
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def judge(self, letter: Letter) -> Opinion:
        """Raises FilterDown."""
        assert self._http is not None, "use `async with`"
        try:
            async with self._http.post(self._url, data=letter.message, headers=self._headers(letter)) as response:
                text = await response.content.read(MAX_REPLY_OCTETS)
                if response.status != 200:
                    raise FilterDown(f"rspamd answers {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise FilterDown(f"rspamd: {error!r}") from error
        try:
            reply = msgspec.json.decode(text, type=_Reply)
        except msgspec.DecodeError as error:
            raise FilterDown(f"rspamd: {error}") from error
        return opinion(reply)

    def _headers(self, letter: Letter) -> list[tuple[str, str]]:
        headers = [
            ("IP", letter.client),
            ("Helo", letter.helo),
            ("From", letter.reverse_path),
            *(("Rcpt", recipient) for recipient in letter.recipients),
            ("MTA-Name", letter.hostname),
        ]
        if letter.user:
            headers.append(("User", letter.user))
        if self._password:
            headers.append(("Password", self._password))
        # A name that isn't ASCII travels as UTF-8; control characters can't be in what the dialogue let through.
        return [(name, _NOT_CONTROL.sub("", value)) for name, value in headers]


_NOT_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def opinion(reply: _Reply) -> Opinion:
    """Raises FilterDown: the action is unknown."""
    action = ACTIONS.get(reply.action)
    if action is None:
        raise FilterDown(f"rspamd: unknown action {reply.action[:40]!r}")
    text = reply.messages.get("smtp_message")
    return Opinion(action, text if isinstance(text, str) else "", _fields(reply, action))


def _fields(reply: _Reply, action: Action) -> bytes:
    lines: list[str] = []
    if action == "junk":
        lines.append("X-Spam: Yes")
    for name, stated in list(reply.milter.add_headers.items())[:MAX_FIELDS]:
        for value in stated if isinstance(stated, list) else [stated]:
            text = value.get("value") if isinstance(value, dict) else value
            if isinstance(text, str) and _FIELD_NAME.fullmatch(name):
                lines.append(f"{name}: {_folded(text)}")
    return "".join(f"{line}\r\n" for line in lines[:MAX_FIELDS]).encode()


def _folded(value: str) -> str:
    """Folding kept, in our form; nothing in it can end the field."""
    parts = [_NOT_PRINTED.sub("?", part) for part in _LINE_END.split(value[:MAX_VALUE])]
    return "\r\n\t".join(part for part in parts if part.strip())
