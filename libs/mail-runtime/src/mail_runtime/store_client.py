"""The store, as a frontend calls it: one method per internal route, over kept-alive HTTP."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
import msgspec

from mail_runtime import tracing
from mail_runtime.contracts import framing
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import ERROR_OF, Conflict, NotFound, StoreError, Unavailable
from mail_runtime.contracts.store import search as wire_search
from mail_runtime.contracts.store.annotations import FindAnnotations, SetAnnotations
from mail_runtime.contracts.store.columns import changes_of
from mail_runtime.contracts.store.mailboxes import MOST_TOGETHER
from mail_runtime.contracts.store.screening import Spend, Stranger, Told
from mail_runtime.contracts.store.uids import spanned
from mail_runtime.handing_over import SMALL_OCTETS, HandingOver

T = TypeVar("T")

# A call that takes longer is reported as Unavailable; large bodies get time in proportion.
CALL_TIMEOUT_S: Final = 30.0
BULK_TIMEOUT_S: Final = 300.0
CONNECTIONS: Final = 100
# What a change of flags waits at most for others; about as long as the store takes for one.
FLAGS_GATHER_S: Final = 0.005
# Larger bodies are written piece by piece, so that other connections get their turn.
WHOLE_OCTETS: Final = 256 * 1024
# A larger answer isn't put together from its pieces, which would be beside it.
LARGE_OCTETS: Final = 1024 * 1024
# An older store takes messages and changes of flags one by one; during an upgrade both kinds answer.
ALONE_S: Final = 60.0

_encode: Final = msgspec.msgpack.Encoder().encode


class StoreClient:
    """Use as `async with StoreClient(url, token) as store`. Safe for any number of concurrent calls.

    Every method raises the errors of `contracts.errors`; Unavailable covers network, time-out and 5xx.
    """

    def __init__(self, url: str, token: str, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        """`call_timeout_s` is for calls without large bodies."""
        self._url = url.rstrip("/") + "/internal"
        self._token, self._call_timeout_s = token, call_timeout_s
        self._http: aiohttp.ClientSession | None = None
        self._handing_over: HandingOver[tuple[wire.Handed, bytes], None] = HandingOver(
            self._hand_over, size=lambda given: len(given[1])
        )
        self._appending: HandingOver[tuple[wire.HandedAppend, bytes], wire.Appended] = HandingOver(
            self._append_set, size=lambda given: len(given[1])
        )
        self._storing_flags = HandingOver(self._store_flag_sets, gather_s=FLAGS_GATHER_S)
        # Requests of several that an older store didn't know, and until when it isn't asked again.
        self._unknown_until: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=60),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._handing_over.close()
        await self._appending.close()
        await self._storing_flags.close()
        if self._http is not None:
            await self._http.close()

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        timeout_s: float | None = None,
        traceparent: str | None = None,
    ) -> bytes:
        """`traceparent`: where it isn't the trace of the task that runs."""
        assert self._http is not None, "use `async with`"
        data = io.BytesIO(body) if body is not None and len(body) > WHOLE_OCTETS else body
        carried = tracing.carried() if traceparent is None else traceparent
        headers = {tracing.HEADER: carried} if carried else None
        timeout = aiohttp.ClientTimeout(total=timeout_s or self._call_timeout_s)
        try:
            async with self._http.request(
                method, self._url + path, data=data, headers=headers, timeout=timeout
            ) as response:
                answer = await _read(response)
                if response.status < 300:
                    return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("the mail store doesn't answer; try again later") from error
        text = answer.decode("utf-8", "replace")[:200]
        raise ERROR_OF.get(response.status, Unavailable)(text)

    async def _ask(self, method: str, path: str, value: Any, kind: type[T]) -> T:
        body = None if value is None else _encode(value)
        return msgspec.msgpack.decode(await self._call(method, path, body), type=kind)

    async def ready(self) -> None:
        """Raises Unavailable: the store can't reach what it needs."""
        await self._call("GET", "/ready", timeout_s=5)

    # directory

    async def authenticate(self, credentials: wire.Credentials) -> wire.Principal:
        """Raises AuthenticationFailed. TooManyLogins: nothing was checked."""
        return await self._ask("POST", "/authenticate", credentials, wire.Principal)

    async def scram_start(self, start: wire.ScramStart) -> wire.ScramChallenge:
        """Salt and iteration count; unknown names get some too."""
        return await self._ask("POST", "/scram/start", start, wire.ScramChallenge)

    async def scram_finish(self, finish: wire.ScramFinish) -> wire.ScramFinished:
        """Raises AuthenticationFailed: no password of the account made this proof. TooManyLogins."""
        return await self._ask("POST", "/scram/finish", finish, wire.ScramFinished)

    async def authenticate_token(self, token: wire.BearerToken) -> wire.Principal:
        """Raises AuthenticationFailed: not valid, or of nobody here. Unavailable: its issuer can't be asked."""
        return await self._ask("POST", "/authenticate-token", token, wire.Principal)

    async def resolve(
        self, addresses: list[str], reverse_path: str = "", submitted_by: UUID | None = None
    ) -> list[wire.Resolution]:
        """What that sender is told of each recipient, in order. Raises Refused: the account may not send."""
        query = {"reverse_path": reverse_path, **({"submitted_by": str(submitted_by)} if submitted_by else {})}
        return await self._ask("POST", f"/resolve?{urlencode(query)}", addresses, list[wire.Resolution])

    async def check_sender(self, account_id: UUID, reverse_path: str) -> None:
        """Raises Refused: the account may not write in the name of this address."""
        await self._call("POST", f"/accounts/{account_id}/sender", _encode(reverse_path))

    # ingest

    async def accept(self, transmission: wire.Transmission, message: bytes) -> wire.Accepted:
        """Store a message for all its recipients; returns after commit. Message: CRLF lines, dot-unstuffed.

        Small messages of several callers go in one request (`handing_over`).

        Raises Refused: a recipient takes no mail or relaying isn't allowed; its text begins with an enhanced status
        code. OverQuota. TooLarge. Unavailable: it may have been stored; repeat with the same transmission id.
        """
        if len(message) > SMALL_OCTETS or not self._is_known("/transmission-sets"):
            await self._accept_alone(transmission, message, tracing.carried())
        else:
            handed = wire.Handed(transmission=transmission, traceparent=tracing.carried())
            await self._handing_over.give((handed, message))
        return wire.Accepted(transmission_id=transmission.id)

    async def _accept_alone(self, transmission: wire.Transmission, message: bytes, traceparent: str) -> None:
        body = framing.pack_envelope(_encode(transmission), message)
        await self._call("POST", "/transmissions", body, BULK_TIMEOUT_S, traceparent)

    async def _hand_over(self, given: Sequence[tuple[wire.Handed, bytes]]) -> Sequence[StoreError | None]:
        """Several in one request, or one by one where the store doesn't know such requests."""
        answers = await self._message_set("/transmission-sets", given, list[wire.Answer])
        if answers is not None:
            return [_error(one.status, one.text) for one in answers]
        return await asyncio.gather(*(self._answer_alone(*one) for one in given))

    async def _answer_alone(self, handed: wire.Handed, message: bytes) -> StoreError | None:
        try:
            await self._accept_alone(handed.transmission, message, handed.traceparent)
        except StoreError as error:
            return error
        return None

    def _is_known(self, path: str) -> bool:
        """Whether the store, as far as is known, takes several together."""
        return time.monotonic() >= self._unknown_until.get(path, 0.0)

    def _remember_unknown(self, path: str) -> None:
        self._unknown_until[path] = time.monotonic() + ALONE_S

    async def _message_set(self, path: str, given: Sequence[tuple[Any, bytes]], answers: type[T]) -> T | None:
        """Headers with their messages in one request. None: there is one only, or the store is older."""
        if len(given) == 1 or not self._is_known(path):
            return None
        headers, messages = [header for header, _ in given], [message for _, message in given]
        body = framing.pack_envelope(_encode(headers), b"".join(framing.pack_stream(messages)))
        try:
            return msgspec.msgpack.decode(await self._call("POST", path, body, BULK_TIMEOUT_S), type=answers)
        except NotFound:
            self._remember_unknown(path)
            return None

    # screening

    async def greylist(self, stranger: Stranger) -> float:
        """Seconds until it may come again; 0: it is known."""
        return await self._ask("POST", "/greylist", stranger, float)

    async def spend(self, wanted: Spend) -> bool:
        """Whether there was as much left, counted for all replicas."""
        return await self._ask("POST", "/allowances", wanted, bool)

    async def tell(self, told: list[Told]) -> None:
        """Record events. Raises Refused: one is of a type that frontends don't tell."""
        await self._call("POST", "/events", _encode(told))

    # mailboxes

    async def mailboxes(self, account_id: UUID, *, elsewhere: bool = False) -> list[wire.Mailbox]:
        """All mailboxes of the account, INBOX first, then by name; `elsewhere`: and those of others that it may use."""
        path = f"/accounts/{account_id}/mailboxes" + ("?elsewhere=1" if elsewhere else "")
        return await self._ask("GET", path, None, list[wire.Mailbox])

    async def create_mailbox(
        self, account_id: UUID, name: str, special_use: str | None = None, *, subscribed: bool = True
    ) -> wire.Mailbox:
        """Create it and its missing superiors. Raises Conflict: exists. Refused: bad name or use."""
        wanted = wire.CreateMailbox(name=name, special_use=special_use, subscribed=subscribed)
        return await self._ask("POST", f"/accounts/{account_id}/mailboxes", wanted, wire.Mailbox)

    async def change_mailbox(self, account_id: UUID, mailbox_id: UUID, change: wire.ChangeMailbox) -> wire.Mailbox:
        """Rename, subscribe, change use or retention. Raises NotFound, Conflict, Refused."""
        return await self._ask("PATCH", f"/accounts/{account_id}/mailboxes/{mailbox_id}", change, wire.Mailbox)

    async def delete_mailbox(self, account_id: UUID, mailbox_id: UUID) -> None:
        """With its messages; inferiors stay. Raises NotFound. Refused: INBOX."""
        await self._call("DELETE", f"/accounts/{account_id}/mailboxes/{mailbox_id}")

    async def former_subscriptions(self, account_id: UUID) -> list[str]:
        """Names that are subscribed though their mailbox is gone."""
        return await self._ask("GET", f"/accounts/{account_id}/former-subscriptions", None, list[str])

    async def subscribe(self, account_id: UUID, name: str, *, subscribed: bool) -> None:
        """By name. Raises NotFound: no such mailbox; unsubscribing works for one that is gone."""
        wanted = wire.Subscribe(name=name, subscribed=subscribed)
        await self._call("POST", f"/accounts/{account_id}/subscriptions", _encode(wanted))

    async def deleted(self, account_id: UUID, mailbox_ids: list[UUID]) -> dict[UUID, wire.Deleted]:
        """What carries \\Deleted in these mailboxes; one without is left out."""
        path = f"/accounts/{account_id}/deleted"
        return await self._ask("POST", path, wire.MailboxIds(ids=mailbox_ids), dict[UUID, wire.Deleted])

    async def claim_recent(self, account_id: UUID, mailbox_id: UUID, up_to: int) -> int:
        """A session is told of all messages up to a uid; returns up to which uid one was before. Raises NotFound."""
        return await self._ask("POST", f"/accounts/{account_id}/mailboxes/{mailbox_id}/recent", up_to, int)

    async def recent(self, account_id: UUID, mailbox_ids: list[UUID]) -> dict[UUID, int]:
        """How many messages no session was told of in these own mailboxes; one without is left out."""
        return await self._ask(
            "POST", f"/accounts/{account_id}/recent", wire.MailboxIds(ids=mailbox_ids), dict[UUID, int]
        )

    async def quota(self, account_id: UUID) -> wire.QuotaUsage:
        """Raises NotFound."""
        return await self._ask("GET", f"/accounts/{account_id}/quota", None, wire.QuotaUsage)

    async def quota_of_root(self, account_id: UUID, address: str) -> wire.QuotaUsage:
        """Of another account, for one that sets quotas. Raises NotFound."""
        return await self._ask("POST", f"/accounts/{account_id}/quotas/find", address, wire.QuotaUsage)

    async def set_quota(self, account_id: UUID, wanted: wire.SetQuota) -> wire.QuotaUsage:
        """As it is then. Raises NotFound: no such root, or the account may not set it. Refused: too large."""
        return await self._ask("POST", f"/accounts/{account_id}/quotas", wanted, wire.QuotaUsage)

    async def columns(
        self, account_id: UUID, mailbox_id: UUID, since: int = 0, *, with_objects: bool = False
    ) -> wire.Columns:
        """What changed after modseq `since`; the whole mailbox for 0, or when that is too long ago. Raises NotFound."""
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/columns?since={since}&objects={int(with_objects)}"
        return await self._ask("GET", path, None, wire.Columns)

    async def changes(self, account_id: UUID, mailbox_id: UUID, since: int = 0) -> wire.Changes:
        """`columns` as lists. Raises NotFound."""
        return changes_of(await self.columns(account_id, mailbox_id, since))

    async def annotations(self, account_id: UUID, mailbox_id: UUID | None, wanted: FindAnnotations) -> dict[str, bytes]:
        """Entries and their values, of a mailbox or of the server. Raises NotFound, NotPermitted."""
        place = f"/accounts/{account_id}" + (f"/mailboxes/{mailbox_id}" if mailbox_id else "")
        return await self._ask("POST", f"{place}/annotations/find", wanted, dict[str, bytes])

    async def set_annotations(self, account_id: UUID, mailbox_id: UUID | None, wanted: SetAnnotations) -> None:
        """All or none. Raises NotFound, NotPermitted, TooLarge: a value, OverQuota. Refused: too many."""
        place = f"/accounts/{account_id}" + (f"/mailboxes/{mailbox_id}" if mailbox_id else "")
        await self._call("POST", f"{place}/annotations", _encode(wanted))

    async def rights(self, account_id: UUID, mailbox_id: UUID) -> list[wire.AclEntry]:
        """Who may do what in a mailbox, its owner first. Raises NotFound, NotPermitted."""
        return await self._ask(
            "GET", f"/accounts/{account_id}/mailboxes/{mailbox_id}/rights", None, list[wire.AclEntry]
        )

    async def set_rights(self, account_id: UUID, mailbox_id: UUID, change: wire.SetRights) -> None:
        """Raises NotFound, NotPermitted. Refused: nobody here has that identifier, or it is the owner's."""
        await self._call("POST", f"/accounts/{account_id}/mailboxes/{mailbox_id}/rights", _encode(change))

    async def append(
        self,
        account_id: UUID,
        mailbox_id: UUID,
        header: wire.AppendHeader,
        message: bytes,
        *,
        elsewhere: bool = False,
    ) -> wire.Appended:
        """Returns after commit. `elsewhere`: the mailbox is another's. Small messages of several callers go in one
        request (`handing_over`). Raises NotFound, NotPermitted, TooLarge.
        """
        if elsewhere or len(message) > SMALL_OCTETS or not self._is_known("/append-sets"):
            return await self._append_alone(account_id, mailbox_id, header, message, elsewhere=elsewhere)
        handed = wire.HandedAppend(account_id=account_id, mailbox_id=mailbox_id, header=header)
        return await self._appending.give((handed, message))

    async def _append_alone(
        self, account_id: UUID, mailbox_id: UUID, header: wire.AppendHeader, message: bytes, *, elsewhere: bool = False
    ) -> wire.Appended:
        body = framing.pack_envelope(_encode(header), message)
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/messages" + ("?elsewhere=1" if elsewhere else "")
        return msgspec.msgpack.decode(await self._call("POST", path, body, BULK_TIMEOUT_S), type=wire.Appended)

    async def _append_set(
        self, given: Sequence[tuple[wire.HandedAppend, bytes]]
    ) -> Sequence[wire.Appended | StoreError]:
        """Several in one request, or one by one where the store doesn't know such requests."""
        answers = await self._message_set("/append-sets", given, list[wire.AppendAnswer])
        if answers is not None:
            return [one.appended or _refusal(one.status, one.text) for one in answers]
        return await asyncio.gather(*(self._answer_append(*one) for one in given))

    async def _answer_append(self, handed: wire.HandedAppend, message: bytes) -> wire.Appended | StoreError:
        try:
            return await self._append_alone(handed.account_id, handed.mailbox_id, handed.header, message)
        except StoreError as error:
            return error

    async def append_all(
        self,
        account_id: UUID,
        mailbox_id: UUID,
        headers: list[wire.AppendHeader],
        messages: list[bytes],
        *,
        elsewhere: bool = False,
    ) -> list[wire.Appended]:
        """Several, all or none; returns after commit. Raises as `append`; TooLarge: all together. OverQuota."""
        body = framing.pack_envelope(_encode(headers), b"".join(framing.pack_stream(messages)))
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/message-sets" + ("?elsewhere=1" if elsewhere else "")
        return msgspec.msgpack.decode(await self._call("POST", path, body, BULK_TIMEOUT_S), type=list[wire.Appended])

    async def replace(
        self,
        account_id: UUID,
        mailbox_id: UUID,
        uid: int,
        target_id: UUID,
        header: wire.AppendHeader,
        message: bytes,
    ) -> wire.Replaced:
        """Store a message in the target and remove another, both or neither; returns after commit.

        Raises NotFound: a mailbox. Conflict: the other message is gone already. NotPermitted, TooLarge, OverQuota.
        """
        body = framing.pack_envelope(_encode(header), message)
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/replace?uid={uid}&target={target_id}"
        return msgspec.msgpack.decode(await self._call("POST", path, body, BULK_TIMEOUT_S), type=wire.Replaced)

    async def store_flags(
        self, account_id: UUID, mailbox_id: UUID, change: wire.StoreFlags, *, elsewhere: bool = False
    ) -> wire.FlagsStored:
        """Uids that are gone are ignored. `elsewhere`: the mailbox is another's. Small changes of several callers go in
        one request (`handing_over`). Raises NotFound: the mailbox. Refused: a bad flag.
        """
        if (
            not elsewhere
            and change.unchanged_since is None
            and spanned(change.uids) <= MOST_TOGETHER
            and self._is_known("/flag-sets")
        ):
            wanted = wire.FlagSet(account_id=account_id, mailbox_id=mailbox_id, change=change)
            if (stored := await self._storing_flags.give(wanted)) is not None:
                return stored
        return await self._store_flags_alone(account_id, mailbox_id, change)

    async def _store_flags_alone(self, account_id: UUID, mailbox_id: UUID, change: wire.StoreFlags) -> wire.FlagsStored:
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/flags"
        return await self._ask("POST", path, change, wire.FlagsStored)

    async def _store_flag_sets(self, wanted: Sequence[wire.FlagSet]) -> Sequence[wire.FlagsStored | None]:
        """None: it has to go alone, because the store is older, or because the others would wait for it."""
        if len(wanted) == 1:
            return [await self._store_flags_alone(wanted[0].account_id, wanted[0].mailbox_id, wanted[0].change)]
        try:
            return await self._ask("POST", "/flag-sets", wanted, list[wire.FlagsStored | None])
        except NotFound:
            self._remember_unknown("/flag-sets")
            return [None] * len(wanted)

    async def copy(self, account_id: UUID, mailbox_id: UUID, copy: wire.CopyMessages) -> wire.Copied:
        """All or nothing (RFC 9051 §6.4.7). Raises NotFound: the target is gone. OverQuota."""
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/copy"
        return await self._ask("POST", path, copy, wire.Copied)

    async def expunge(self, account_id: UUID, mailbox_id: UUID, expunge: wire.Expunge) -> wire.Expunged:
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/expunge"
        return await self._ask("POST", path, expunge, wire.Expunged)

    async def search(self, account_id: UUID, mailbox_id: UUID, search: wire_search.Search) -> wire_search.Found:
        """Messages of a mailbox: by uid, sorted, or as threads. Raises NotFound. Refused: the program is too large."""
        path = f"/accounts/{account_id}/mailboxes/{mailbox_id}/search"
        answer = await self._call("POST", path, _encode(search), BULK_TIMEOUT_S)
        return msgspec.msgpack.decode(answer, type=wire_search.Found)

    async def header_fields(self, account_id: UUID, blob_ids: list[UUID]) -> list[wire_search.HeaderFields]:
        """Of those of an account's messages that are indexed, in any order. Raises NotFound: an older store."""
        path, wanted = f"/accounts/{account_id}/header-fields", wire.BlobIds(ids=blob_ids)
        return await self._ask("POST", path, wanted, list[wire_search.HeaderFields])

    # contents

    async def summaries(self, account_id: UUID, blob_ids: list[UUID]) -> list[wire.Summary]:
        """In the order asked; those that aren't the account's are left out."""
        return await self._ask(
            "POST", f"/accounts/{account_id}/summaries", wire.BlobIds(ids=blob_ids), list[wire.Summary]
        )

    async def bodies(self, account_id: UUID, blob_ids: list[UUID]) -> list[bytes]:
        """Whole messages in the order asked. Raises NotFound: one isn't the account's."""
        body = _encode(wire.BlobIds(ids=blob_ids))
        return framing.unpack_stream(await self._call("POST", f"/accounts/{account_id}/bodies", body, BULK_TIMEOUT_S))

    async def body_range(self, account_id: UUID, blob_id: UUID, start: int, end: int) -> bytes:
        """The octets [start, end) of a message, at most 1 MiB; fewer where it ends. Raises NotFound, Refused."""
        path = f"/accounts/{account_id}/bodies/{blob_id}?start={start}&end={end}"
        return await self._call("GET", path, None, BULK_TIMEOUT_S)

    # maildrops

    async def maildrop_login(self, login: str) -> tuple[str, str | None]:
        """The account's part and the mailbox's of a login with `+`. Raises NotFound: there is no such account."""
        return await self._ask("POST", "/maildrop-login", login, tuple[str, str | None])

    async def log_in_to_maildrop(self, wanted: wire.LogInToMaildrop) -> wire.LoggedIn:
        """Raises AuthenticationFailed, TooManyLogins, and what `open_maildrop` does."""
        return await self._ask("POST", "/maildrop-logins", wanted, wire.LoggedIn)

    async def open_maildrop(self, account_id: UUID, wanted: wire.OpenMaildrop) -> wire.Maildrop:
        """Raises Conflict: another session has it. TooSoon: the login delay. NotFound: no such mailbox."""
        return await self._ask("POST", f"/accounts/{account_id}/maildrop", wanted, wire.Maildrop)

    async def keep_maildrops(self, wanted: wire.KeepMaildrops) -> list[UUID]:
        """Renew. Returns those owners whose lock somebody else has by now."""
        return await self._ask("PUT", "/maildrop-locks", wanted, list[UUID])

    async def retrieve(self, account_id: UUID, wanted: wire.Retrieve) -> dict[int, bytes]:
        """Messages by uid; those that are gone from the mailbox are left out."""
        body = await self._call("POST", f"/accounts/{account_id}/retrieve", _encode(wanted), BULK_TIMEOUT_S)
        uids, *bodies = framing.unpack_stream(body)
        return dict(zip(msgspec.msgpack.decode(uids, type=list[int]), bodies, strict=True))

    async def retrieve_piece(self, account_id: UUID, wanted: wire.RetrievePiece) -> tuple[bytes, bytes]:
        """The whole message's SHA-256, and the octets asked for. Raises NotFound: it is gone."""
        answer = await self._call("POST", f"/accounts/{account_id}/retrieve-piece", _encode(wanted), BULK_TIMEOUT_S)
        return answer[:32], answer[32:]

    async def close_maildrop(self, account_id: UUID, wanted: wire.CloseMaildrop) -> None:
        """Returns after commit. Raises Conflict: the lock is another session's, nothing was done."""
        await self._call("DELETE", f"/accounts/{account_id}/maildrop", _encode(wanted))

    # of POP3 services older than the methods above

    async def lock_maildrop(self, account_id: UUID, lock: wire.MaildropLock) -> None:
        """Take or renew. Raises Conflict: another session has it."""
        await self._call("PUT", f"/accounts/{account_id}/maildrop-lock", _encode(lock))

    async def unlock_maildrop(self, account_id: UUID, owner: UUID) -> None:
        await self._call("DELETE", f"/accounts/{account_id}/maildrop-lock?owner={owner}")

    # queue

    async def claim(self, claim: wire.ClaimDeliveries) -> wire.Claim:
        """Raises Conflict: none of the deliveries can be had."""
        return await self._ask("POST", "/deliveries/claim", claim, wire.Claim)

    async def queued_message(self, transmission_id: UUID) -> bytes:
        """The octets to send. Raises NotFound."""
        return await self._call("GET", f"/transmissions/{transmission_id}/message", None, BULK_TIMEOUT_S)

    async def claim_all(self, wanted: Sequence[wire.ClaimDeliveries]) -> list[wire.Claim | Conflict]:
        """Many claims, each answered as `claim` would, with messages as far as one answer may be large.

        Raises NotFound: the store is older than this method.
        """
        answer = await self._call("POST", "/deliveries/claims", _encode(wanted), BULK_TIMEOUT_S)
        claims = msgspec.msgpack.decode(answer, type=list[wire.Claim | None])
        return [claim or Conflict("none of the deliveries can be had") for claim in claims]

    async def report(self, outcomes: wire.Outcomes) -> None:
        """Record how the attempts ended; repeating it changes nothing. Raises Conflict: the lease was lost."""
        await self._call("POST", "/deliveries/outcomes", _encode(outcomes))

    async def report_all(self, reports: Sequence[wire.Outcomes]) -> list[StoreError | None]:
        """Many reports: what `report` would raise for each, or None: it is committed.

        Raises NotFound: the store is older than this method.
        """
        answers = await self._ask("POST", "/deliveries/reports", reports, list[tuple[int, str]])
        return [_error(*answer) for answer in answers]


def _error(status: int, text: str) -> StoreError | None:
    """What the answer to one of several raises to who asked."""
    return None if status < 300 else _refusal(status, text)


def _refusal(status: int, text: str) -> StoreError:
    return ERROR_OF.get(status, Unavailable)(text)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) <= LARGE_OCTETS:
        return await response.read()
    whole = io.BytesIO()  # gives what it holds uncopied
    async for piece in response.content.iter_any():
        whole.write(piece)
    return whole.getvalue()
