"""What is known of one client: who it is, and the mailbox that it has selected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from imap.cache import BoundedCache, Contents
from imap.contexts import SearchContext
from imap.header_fields import HeaderFields
from imap.listening import Listening
from imap.lists import Lists
from imap.recent import Recents
from imap.settings import Settings
from imap.views import Changed, SharedMailbox, Views
from imap.watches import Watch, Watches
from mail_proto.imap.enabled import Enabled
from mail_proto.imap.errors import Refused
from mail_proto.imap.rights import RIGHTS, WRITING
from mail_proto.imap.states import State
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import Expunge, Expunged, FlagsStored, Mailbox, Principal, StoreFlags
from mail_runtime.contracts.store.sharing import is_elsewhere
from mail_runtime.store_client import StoreClient

Send = Callable[..., Awaitable[None]]
# Responses to FETCH of what the columns have, by the version of these, the names, and which messages.
Rendered = BoundedCache[tuple[int, tuple[str, ...], range], bytes]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of the process use together."""

    settings: Settings
    store: StoreClient
    contents: Contents
    header_fields: HeaderFields
    rendered: Rendered
    recents: Recents
    watches: Watches
    views: Views
    lists: Lists

    @classmethod
    def of(cls, settings: Settings, store: StoreClient, watches: Watches) -> Self:
        """With empty caches."""
        return cls(
            settings,
            store,
            Contents(store, settings.summary_cache_octets, settings.body_cache_octets),
            HeaderFields(store, settings.field_cache_octets),
            BoundedCache(settings.rendered_cache_octets),
            Recents(store),
            watches,
            Views(store, watches),
            Lists(store, watches),
        )


@dataclass(slots=True)
class Selected:
    """The selected mailbox. `told_highest`: the client was told its modseq (RFC 7162 §3.1.2).

    `examined`: by EXAMINE. `told_rights`: those that the client knows of.
    `contexts`: searches that are kept up to date, by their tags (RFC 5267). `own_uids`: of messages that the client has
    put there itself and wasn't told of yet.
    """

    shared: SharedMailbox
    examined: bool
    view: View
    told_highest: bool = False
    told_rights: str = RIGHTS
    contexts: dict[bytes, SearchContext] = field(default_factory=dict)
    own_uids: set[int] = field(default_factory=set)

    @property
    def mailbox(self) -> Mailbox:
        return self.shared.mailbox

    @property
    def rights(self) -> str:
        """As they were when the mailbox was looked at last; the store decides."""
        return self.shared.mailbox.rights

    @property
    def read_only(self) -> bool:
        return self.examined or WRITING.isdisjoint(self.rights)

    def permanent_flags(self) -> bytes:
        """`* OK [PERMANENTFLAGS …]`."""
        flags = "()" if self.examined else self.view.permanent_flags(self.rights)
        return b"* OK [PERMANENTFLAGS %b] flags that are kept\r\n" % flags.encode("ascii")

    def rights_news(self) -> bytes:
        """What the client is told when its rights have changed (RFC 4314 §5.1.1)."""
        if self.told_rights == self.rights:
            return b""
        self.told_rights = self.rights
        return self.view.flags_response() + self.permanent_flags()


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended well: the text of its OK, perhaps a response code."""

    text: str
    code: str = ""


@dataclass(slots=True)
class Session:
    """State between commands. `send` writes to the client soon, `flush` now; both wait while it reads slowly.

    `tag`: of the command that is under way; `progress`: how much it has done of how much, where that is known.
    `listening`: what NOTIFY asked for; None: it wasn't given yet.
    """

    shared: Shared
    send: Send
    flush: Callable[[], Awaitable[None]]
    enabled: Enabled
    tag: bytes = b"*"
    progress: tuple[int, int] | None = None
    principal: Principal | None = None
    selected: Selected | None = None
    watch: Watch = field(default_factory=Watch)
    listening: Listening | None = None
    _is_proven: bool | None = None
    _is_read: bool = False

    @property
    def state(self) -> State:
        if self.principal is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    @property
    def listens(self) -> bool:
        """Whether it is told of news between its commands (RFC 5465 §3.1)."""
        return self.listening is not None and bool(self.listening.wanted.groups)

    def own(self, *names: str) -> None:
        """The client itself has done something to mailboxes of these names (RFC 5465 §5)."""
        if self.listening is not None:
            self.listening.own_names.update(names)

    @property
    def account_id(self) -> UUID:
        assert self.principal is not None, "only after login"
        return self.principal.account_id

    @property
    def store(self) -> StoreClient:
        return self.shared.store

    def writable(self) -> Selected:
        """The selected mailbox. Raises Refused: it was opened by EXAMINE. What is another's is the store's business."""
        assert self.selected is not None, "checked by states.check_allowed"
        if self.selected.examined:
            raise Refused("the mailbox was opened read-only", "READ-ONLY")
        return self.selected

    def begin(self, tag: bytes) -> None:
        """A command: what was proven or read for the one before doesn't count for it."""
        self.tag, self.progress, self._is_proven, self._is_read = tag, None, None, False

    async def is_proven(self) -> bool:
        """Whether all was heard that was answered to anybody before this command, of mailboxes of the account."""
        if self._is_proven is None:
            self._is_proven = await self.shared.watches.prove(self.account_id)
        return self._is_proven

    async def mailboxes(self, *, elsewhere: bool = False) -> Sequence[Mailbox]:
        """Those of the account, `elsewhere`: and those of others that it may use. Names, ids and attributes are as they
        are now; counters may be older, see `counted`. Raises Unavailable.
        """
        lists = self.shared.lists
        # Proven before it is read: what is heard from then on tells whether it is still so.
        if not elsewhere and await self.is_proven() and (known := lists.known(self.account_id)) is not None:
            return known
        self._is_read = True
        if elsewhere:
            return await self.store.mailboxes(self.account_id, elsewhere=True)
        return await lists.read(self.account_id)

    async def counted(self, mailboxes: Sequence[Mailbox]) -> Sequence[Mailbox]:
        """These `mailboxes` with their counters as they are now, but for those that are gone. Raises Unavailable."""
        lists = self.shared.lists
        if self._is_read or all(
            mailbox.owner_id is None and lists.is_counted(self.account_id, mailbox) for mailbox in mailboxes
        ):
            return mailboxes
        wanted = {mailbox.id for mailbox in mailboxes}
        return [mailbox for mailbox in await lists.read(self.account_id) if mailbox.id in wanted]

    async def find_mailbox(self, name: str) -> Mailbox:
        """Its counters may be old. Raises Refused: there is none of that name, not among others' that the account may
        know of either.
        """
        for mailbox in await self.mailboxes(elsewhere=is_elsewhere(name)):
            if mailbox.name == name:
                return mailbox
        raise Refused("there is no such mailbox", "NONEXISTENT")

    async def is_current(self) -> bool:
        """Whether it is proven that the view has all that was answered to anybody before this command."""
        assert self.selected is not None, "checked by states.check_allowed"
        return await self.selected.shared.is_current(self.is_proven)

    async def refresh(self) -> None:
        """Bring the view up to date; `View.announce` tells the client. Raises NotFound: the mailbox is gone."""
        if self.selected is None:
            return
        # Before the request: what changes during it sets the event again.
        self.watch.changed.clear()
        await self.selected.shared.refresh()

    async def store_flags(self, change: StoreFlags) -> FlagsStored:
        """In the selected mailbox; the view is up to date then. Raises NotFound, NotPermitted, Refused, Unavailable."""
        return await self._change(lambda mailbox: mailbox.store_flags(change))

    async def expunge(self, wanted: Expunge) -> Expunged:
        """In the selected mailbox; the view is up to date then. Raises as `store_flags`."""
        return await self._change(lambda mailbox: mailbox.expunge(wanted))

    async def _change(self, change: Callable[[SharedMailbox], Awaitable[Changed]]) -> Changed:
        assert self.selected is not None, "checked by states.check_allowed"
        shared, before = self.selected.shared, self.selected.view.columns.modseq
        self.watch.changed.clear()
        try:
            with self.watch.making() as made:
                changed = await change(shared)
                # Of another's mailbox news are that rights have changed, at the same modseq.
                if self.watch.owner_id is None and changed.modseq > before:
                    made.add(changed.modseq)
        except StoreError:
            self.watch.changed.set()
            raise
        return changed

    def unselect(self) -> None:
        if self.selected is not None:
            self.shared.views.close(self.selected.shared, self.selected.view)
        self.selected = None
        self.shared.watches.leave(self.watch)
        self.watch.mailbox_id = None
