"""What is known of one client: who it is, and the mailbox that it has selected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from imap.cache import Contents
from imap.contexts import SearchContext
from imap.listening import Listening
from imap.settings import Settings
from imap.views import SharedMailbox, Views
from imap.watches import Watch, Watches
from mail_proto.imap.enabled import Enabled
from mail_proto.imap.errors import Refused
from mail_proto.imap.rights import RIGHTS, WRITING
from mail_proto.imap.states import State
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import FlagsStored, Mailbox, Principal, StoreFlags
from mail_runtime.contracts.store.sharing import is_elsewhere
from mail_runtime.store_client import StoreClient

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of the process use together."""

    settings: Settings
    store: StoreClient
    contents: Contents
    watches: Watches
    views: Views


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

    `tag`: of the command that is under way. `listening`: what NOTIFY asked for; None: it wasn't given yet.
    """

    shared: Shared
    send: Send
    flush: Callable[[], Awaitable[None]]
    enabled: Enabled
    tag: bytes = b"*"
    principal: Principal | None = None
    selected: Selected | None = None
    watch: Watch = field(default_factory=Watch)
    listening: Listening | None = None

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

    async def find_mailbox(self, name: str) -> Mailbox:
        """Raises Refused: there is none of that name, not among others' that the account may know of either."""
        for mailbox in await self.store.mailboxes(self.account_id, elsewhere=is_elsewhere(name)):
            if mailbox.name == name:
                return mailbox
        raise Refused("there is no such mailbox", "NONEXISTENT")

    async def refresh(self) -> None:
        """Bring the view up to date; `View.announce` tells the client. Raises NotFound: the mailbox is gone."""
        if self.selected is None:
            return
        # Before the request: what changes during it sets the event again.
        self.watch.changed.clear()
        await self.selected.shared.refresh()

    async def store_flags(self, change: StoreFlags) -> FlagsStored:
        """In the selected mailbox; the view is up to date then. Raises NotFound, NotPermitted, Refused, Unavailable."""
        assert self.selected is not None, "checked by states.check_allowed"
        shared, before = self.selected.shared, self.selected.view.columns.modseq
        self.watch.changed.clear()
        try:
            with self.watch.making() as made:
                stored = await shared.store_flags(change)
                # Of another's mailbox news are that rights have changed, at the same modseq.
                if self.watch.owner_id is None and stored.modseq > before:
                    made.add(stored.modseq)
        except StoreError:
            self.watch.changed.set()
            raise
        return stored

    def unselect(self) -> None:
        if self.selected is not None:
            self.shared.views.close(self.selected.shared, self.selected.view)
        self.selected = None
        self.shared.watches.leave(self.watch)
        self.watch.mailbox_id = None
