"""Searching: the index and reading find the same, and what a plain look at the octets finds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mail_proto.fold import fold
from mail_proto.message import headers
from mail_proto.message.structure import scan
from mail_proto.message.summary import summarize
from mail_proto.message.text import searchable
from mail_runtime.contracts.errors import NotFound, Refused
from mail_runtime.contracts.store import Summary
from mail_runtime.contracts.store import search as wire
from mail_testkit import messages
from store_api.blobs.blobs import Blobs
from store_api.blobs.rows import insert_blobs
from store_api.blobs.storage import open_storage
from store_api.blobs.writing import Body, write
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.search import coverage, parsing
from store_api.search.compounds import SEPARATORS
from store_api.search.few import find_among_few
from store_api.search.indexing import index_blobs
from store_api.search.keys import read_keys
from store_api.search.ranking import ranked
from store_api.search.search import find_among_many, find_uids, search
from store_api.transfer.importing import import_rows

EVERYTHING = wire.Everything()


@dataclass(slots=True)
class Kept:
    """A message that a test has stored."""

    uid: int
    octets: bytes
    flags: list[str]
    internal_date: int
    blob_id: UUID
    email_id: UUID = field(default_factory=uuid4)


@dataclass(slots=True)
class Shelf:
    """A mailbox in a database of this test alone, with nobody who indexes unasked."""

    database: Database
    blobs: Blobs
    account_id: UUID = field(default_factory=uuid4)
    mailbox_id: UUID = field(default_factory=uuid4)
    kept: list[Kept] = field(default_factory=list)

    async def open(self) -> Shelf:
        async with self.database.transaction() as connection:
            domain_id = uuid4()
            await run(
                connection, "INSERT INTO domain (id, name) VALUES (:id, :name)", id=domain_id, name=str(domain_id)
            )
            await run(
                connection,
                "INSERT INTO account (id, domain_id, address, password_hash) VALUES (:id, :domain_id, :address, '')",
                id=self.account_id,
                domain_id=domain_id,
                address=f"{self.account_id}@test",
            )
            await run(
                connection,
                "INSERT INTO mailbox (account_id, id, name) VALUES (:account_id, :id, 'INBOX')",
                account_id=self.account_id,
                id=self.mailbox_id,
            )
        return self

    async def add(self, *octets: bytes, flags: Sequence[str] = (), internal_date: int = 1_000_000_000) -> None:
        first = len(self.kept) + 1
        new = [Kept(first + n, one, list(flags), internal_date + n, uuid7()) for n, one in enumerate(octets)]
        written = await write(self.blobs, [Body(kept.blob_id, kept.octets) for kept in new])
        async with self.database.transaction() as connection:
            await insert_blobs(connection, written, [_summary(kept) for kept in new])
            for kept in new:
                await run(
                    connection,
                    "INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id,"
                    " octets)"
                    " VALUES (:account_id, :mailbox_id, :uid, :blob_id, :uid, :flags, :date, :email_id, :octets)",
                    account_id=self.account_id,
                    mailbox_id=self.mailbox_id,
                    uid=kept.uid,
                    blob_id=kept.blob_id,
                    flags=kept.flags,
                    date=kept.internal_date,
                    email_id=kept.email_id,
                    octets=len(kept.octets),
                )
            await run(
                connection,
                "UPDATE mailbox SET messages = messages + :added WHERE account_id = :account_id AND id = :id",
                added=len(new),
                account_id=self.account_id,
                id=self.mailbox_id,
            )
        self.kept += new

    async def index(self) -> int:
        pairs = [(self.account_id, kept.blob_id) for kept in self.kept]
        return await index_blobs(self.database, self.blobs, pairs)

    async def find(self, key: wire.SearchKey) -> list[int]:
        """What is found, which is the same by looking at each message and by the index of many."""
        where = (self.database, self.blobs, self.account_id, self.mailbox_id, key)
        found = await find_uids(*where)
        assert found == await find_among_many(*where), key
        return found[0]


async def everywhere(shelf: Shelf, key: wire.SearchKey) -> list[int]:
    """Uids of what is found in the whole account, which has one mailbox."""
    found = await ranked(shelf.database, shelf.blobs, shelf.account_id, None, (key, ()), None, 1_000)
    assert {rank.mailbox_id for rank in found.best} <= {shelf.mailbox_id}
    assert all(rank.email_id == shelf.kept[rank.uid - 1].email_id for rank in found.best)
    assert found.total == len(found.best)
    return sorted(rank.uid for rank in found.best)


def _summary(kept: Kept) -> bytes:
    return msgspec.msgpack.encode(Summary.of(kept.blob_id, summarize(kept.octets)))


@pytest.fixture
async def blobs(fresh_database: Database, tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = Blobs(open_storage(f"file://{tmp_path}/bodies", "", ""), fresh_database)
    await opened.check()
    yield opened
    opened.close()


@pytest.fixture
async def shelf(fresh_database: Database, blobs: Blobs) -> Shelf:
    return await Shelf(fresh_database, blobs).open()


@pytest.fixture
async def other_shelf(fresh_database: Database, blobs: Blobs) -> Shelf:
    return await Shelf(fresh_database, blobs).open()


def text(needle: str) -> wire.InText:
    return wire.InText(needle, header_too=True)


def body(needle: str) -> wire.InText:
    return wire.InText(needle, header_too=False)


def letter(subject: str, content: str, **more: str) -> bytes:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    head = f"From: Ada Lovelace <ada@example.test>\r\nSubject: {subject}\r\n{fields}"
    return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{content}\r\n".encode()


LETTERS = (
    letter(
        "Grüße aus Köln", "Straßenbahn nach Düsseldorf\r\nsecond line", To="bob@example.test", List_Id="<l.example>"
    ),
    letter("=?iso-2022-jp?b?GyRCO3YwbBsoQg==?=", "今日は世界 and more", Cc="carol@elsewhere.test"),
    letter("plain", "the quick brown fox foobar", X_Note="100% _sure_", DKIM_Signature="v=1; b=QkFTRTY0c2lnbmF0dXJl"),
    b"Subject: latin\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf\xe9 \xc9COLE\r\n",
    b"Subject: coded\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVuIHRyZWFzdXJl\r\n",
    b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    b"<p>shown&amp;told</p><style>unseen {}</style>\r\n--b\r\n"
    b'Content-Type: image/png; name="sunset.png"\r\n\r\nbinary words\r\n--b--\r\n',
    letter("long", "x" * 150 + "needle" + "y" * 100 + " 20261125080000"),
)

FOUND = [
    (text("GRÜSSE"), [1]),
    (text("strassenbahn"), [1]),
    (body("köln"), []),
    (body("nach düssel"), [1]),
    (body("dorf\r\nsecond"), [1]),
    (text("\u4e16\u754c"), [2]),
    (text("\u4eca\u65e5\u306f\u4e16"), [2]),
    (text("\u4e8b"), [2]),
    (text("fox foo"), [3]),
    (text("ox"), [3]),
    (body("q"), [3]),
    (text("100%"), [3]),
    (text("_sure_"), [3]),
    (text("%"), [3]),
    (body("École"), [4]),
    (body("hidden tre"), [5]),
    (body("shown&told"), [6]),
    (text("unseen {"), []),
    (text("sunset.PNG"), [6]),
    (body("sunset"), []),
    (body("binary"), []),
    (text("xneedley"), [7]),
    (text("x" * 40), [7]),
    (text("x" * 150 + "n"), [7]),
    (text("112508"), [7]),
    (text("BASE64"), [5]),
    (text("qkftrty0"), []),
    (wire.InHeader("dkim-signature", "QkFTRTY0"), [3]),
    (wire.InHeader("Subject", ""), [1, 2, 3, 4, 5, 6, 7]),
    (wire.InHeader("subject", "k\u00f6ln"), [1]),
    (wire.InHeader("FROM", "lovelace <ada"), [1, 2, 3, 7]),
    (wire.InHeader("to", "bob"), [1]),
    (wire.InHeader("cc", ""), [2]),
    (wire.InHeader("bcc", ""), []),
    (wire.InHeader("list-id", "L.Exam"), [1]),
    (wire.InHeader("list-id", ""), [1]),
    (wire.InHeader("list", ""), []),
    (wire.InHeader("x-note", "_sure"), [3]),
    (wire.InHeader("content-type", "png"), []),
    (wire.InHeader("Subject: plain", ""), []),
    (text("bob@example.test"), [1]),
    (text("@example.te"), [1, 2, 3, 7]),
    (text("a@example.test"), [1, 2, 3, 7]),
    (body("bob@example.test"), []),
    (text("ob@example.tes.t"), []),
    (text("carol@e"), [2]),
    (body("@example"), []),
    (text("example.test"), [1, 2, 3, 7]),
    (text("LOVELACE <ada@"), [1, 2, 3, 7]),
    (text("l.example"), [1]),
    (text("l.exampl>"), []),
    (text("dkim-sig"), []),
    (text("-type"), [1, 2, 3, 4, 6, 7]),
    (text("transfer-encoding"), [5]),
    (text("nothing has this"), []),
    (text("\0"), []),
    (text(""), [1, 2, 3, 4, 5, 6, 7]),
    (wire.Not(text("the")), [1, 2, 4, 5, 6, 7]),
]


@pytest.mark.parametrize("is_indexed", [True, False])
async def test_what_is_found(shelf: Shelf, is_indexed: bool) -> None:
    await shelf.add(*LETTERS)
    if is_indexed:
        assert await shelf.index() == len(LETTERS)
    for key, uids in FOUND:
        assert await shelf.find(key) == uids, key


@pytest.mark.parametrize(
    "limit", ["store_api.search.contents.MAX_ADDRESSES", "store_api.search.vocabulary.MAX_WORDS_OF_CLUE"]
)
async def test_what_fits_too_many_words_is_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(limit, 0)
    await shelf.add(*LETTERS)
    await shelf.index()
    for key, uids in FOUND:
        assert await shelf.find(key) == uids, key


async def test_where_each_message_is_looked_at(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a mailbox of few messages that are indexed; for texts, of fewer."""
    fields, texts, flag = wire.InHeader("subject", "plain"), text("quick"), wire.Not(wire.HasFlag("\\Seen"))

    async def looked_at(key: wire.SearchKey) -> tuple[list[int], int] | None:
        return await find_among_few(shelf.database, shelf.account_id, shelf.mailbox_id, key, 0)

    await shelf.add(*LETTERS)
    assert (await looked_at(fields), await looked_at(texts)) == (None, None)
    assert await looked_at(flag) == ([1, 2, 3, 4, 5, 6, 7], 7)
    await shelf.index()
    assert await looked_at(fields) == await looked_at(texts) == ([3], 3)
    monkeypatch.setattr("store_api.search.few.FEW_TEXTS", len(LETTERS) - 1)
    assert (await looked_at(fields), await looked_at(texts)) == (([3], 3), None)
    assert await looked_at(wire.AllOf([texts, fields])) is None
    monkeypatch.setattr("store_api.search.few.FEW", len(LETTERS) - 1)
    assert (await looked_at(fields), await looked_at(flag)) == (None, None)
    assert await shelf.find(fields) == await shelf.find(texts) == [3]


async def test_a_message_with_too_many_words_is_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store_api.search.parsing.MAX_WORDS", 20)
    await shelf.add(letter("many", " ".join(f"word{n} a{n:x}z" for n in range(100))), *LETTERS[:3])
    await shelf.index()
    assert await shelf.find(body("word9")) == [1]
    assert await shelf.find(body("word98 a")) == [1]
    assert await shelf.find(wire.InHeader("content-type", "utf")) == [1, 2, 3, 4]
    assert await shelf.find(body("quick")) == [4]


async def test_texts_are_read_in_pieces(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece has a statement's time: as many frequent words as one likes are found, sooner or later."""
    monkeypatch.setattr("store_api.search.search.PIECE", 2)
    letters = [b"Subject: %d\r\n\r\nthe end of the %s\r\n" % (n, b"line" if n % 3 else b"page") for n in range(7)]
    await shelf.add(*letters)
    await shelf.index()
    assert await shelf.find(text("of the")) == [1, 2, 3, 4, 5, 6, 7]
    uids, modseq = await find_uids(shelf.database, shelf.blobs, shelf.account_id, shelf.mailbox_id, text("of the page"))
    assert (uids, modseq) == ([1, 4, 7], 7)
    assert await everywhere(shelf, text("the line")) == [2, 3, 5, 6]


async def test_columns(shelf: Shelf) -> None:
    noon = int(datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp())
    await shelf.add(b"Date: Thu, 29 Feb 2024 23:59:00 -0800\r\n\r\n", flags=["\\Seen", "$Work"], internal_date=noon)
    await shelf.add(b"Date: nonsense\r\n\r\n" + b"x" * 100, internal_date=noon + 86_400)
    now = int(time.time())
    today = datetime.now(UTC).date()
    expected: list[tuple[wire.SearchKey, list[int]]] = [
        (wire.HasFlag("\\SEEN"), [1]),
        (wire.HasFlag("$work"), [1]),
        (wire.HasFlag("$wor"), []),
        (wire.HasFlag('a"b,{}'), []),
        (wire.Day("internal", date(2024, 2, 29), date(2024, 3, 1)), [1]),
        (wire.Day("internal", date(2024, 3, 1)), [2]),
        (wire.Day("sent", date(2024, 2, 29), date(2024, 3, 1)), [1]),
        (wire.Day("sent", None, date(2024, 2, 29)), []),
        (wire.Not(wire.Day("sent")), [2]),
        (wire.Day("saved", today - timedelta(1)), [1, 2]),
        (wire.Size(larger=50), [2]),
        (wire.Size(smaller=50), [1]),
        (wire.Size(larger=1 << 80), []),
        (wire.Age(now - noon - 86_000, older=False), [2]),
        (wire.Age(now - noon - 86_000, older=True), [1]),
        (wire.Arrived(noon, noon + 1), [1]),
        (wire.Arrived(noon + 1), [2]),
        (wire.Changed(2), [2]),
        (wire.HasId("email", shelf.kept[1].email_id), [2]),
        (wire.HasId("thread", uuid4()), []),
        (wire.Uids([(2, 4_294_967_295)]), [2]),
        (wire.Uids([(1_000_000_000, 1)]), [1, 2]),
        (wire.Uids([]), []),
        (wire.AnyOf([]), []),
        (wire.AllOf([]), [1, 2]),
        (wire.AnyOf([wire.Uids([(1, 1)]), body("xxx")]), [1, 2]),
        (wire.InMailboxes([shelf.mailbox_id]), [1, 2]),
    ]
    for _ in range(2):
        for key, uids in expected:
            assert await shelf.find(key) == uids, key
        await shelf.index()


# Random programs


@dataclass(frozen=True, slots=True)
class Looked:
    """A message as a plain look at its octets sees it."""

    kept: Kept
    header: list[tuple[str, str]]
    head: str
    body: str

    @classmethod
    def at(cls, kept: Kept) -> Looked:
        root = scan(kept.octets)
        fields = [
            (name.decode("latin-1").lower(), fold(headers.decode(value)))
            for name, value in headers.fields(kept.octets[: root.body_start])
        ]
        return cls(kept, fields, "", fold(searchable(kept.octets, root)))

    def matches(self, key: wire.SearchKey) -> bool:
        match key:
            case wire.InText(needle):
                return fold(needle) in self.body
            case wire.InHeader(name, needle):
                return any(fold(needle) in value for own, value in self.header if own == name.lower())
            case wire.HasFlag(flag):
                return flag in self.kept.flags
            case wire.Size(larger):
                return len(self.kept.octets) > (larger or 0)
            case wire.Uids(ranges):
                return any(self.kept.uid in range(first, last + 1) for first, last in ranges)
            case wire.Not(inner):
                return not self.matches(inner)
            case wire.AnyOf(keys):
                return any(self.matches(inner) for inner in keys)
            case wire.AllOf(keys):
                return all(self.matches(inner) for inner in keys)
        raise AssertionError(key)


SAMPLE = [messages.as_sent(path) for path in messages.paths()[:: max(1, len(messages.paths()) // 60)]]
LOOKED = [Looked.at(Kept(n, octets, ["\\Flagged"] if n % 3 else [], 0, uuid4())) for n, octets in enumerate(SAMPLE, 1)]


@st.composite
def needles(draw: st.DrawFn) -> str:
    """A piece of some message, sometimes spoilt."""
    looked = draw(st.sampled_from([one for one in LOOKED if one.body]))
    start = draw(st.integers(0, len(looked.body) - 1))
    piece = looked.body[start : start + draw(st.sampled_from([1, 2, 3, 5, 9, 20, 80]))]
    piece = draw(st.sampled_from([piece, piece, piece.upper(), piece[::-1]]))
    # A mark alone composes with whatever stands before it.
    return piece if piece.isascii() else fold(piece).lstrip("".join(chr(n) for n in range(0x300, 0x370))) or "a"


@st.composite
def phrases(draw: st.DrawFn) -> str:
    """What stands around a space of some message: most needles of people are words side by side."""
    looked = draw(st.sampled_from([one for one in LOOKED if " " in one.body]))
    gaps = [place for place, char in enumerate(looked.body) if char == " "]
    at = draw(st.sampled_from(gaps))
    piece = looked.body[max(0, at - draw(st.integers(1, 5))) : at + 1 + draw(st.integers(1, 12))]
    return fold(piece).lstrip("".join(chr(n) for n in range(0x300, 0x370))) or "a"


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """What stands around a separator of some message, as in addresses and their domains."""
    looked = draw(st.sampled_from([one for one in LOOKED if set(one.body) & set(SEPARATORS)]))
    at = draw(st.sampled_from([place for place, char in enumerate(looked.body) if char in SEPARATORS]))
    piece = looked.body[max(0, at - draw(st.integers(0, 8))) : at + 1 + draw(st.integers(1, 12))]
    return fold(piece).lstrip("".join(chr(n) for n in range(0x300, 0x370))) or "a"


@st.composite
def in_header(draw: st.DrawFn) -> wire.InHeader:
    looked = draw(st.sampled_from([one for one in LOOKED if one.header]))
    name, value = draw(st.sampled_from(looked.header))
    start = draw(st.integers(0, len(value)))
    return wire.InHeader(name, value[start : start + draw(st.integers(0, 12))].replace("\n", ""))


LEAVES = st.one_of(
    st.builds(body, needles()),
    st.builds(body, phrases()),
    st.builds(body, addresses()),
    in_header(),
    st.just(wire.HasFlag("\\Flagged")),
    st.builds(wire.Size, st.integers(0, 20_000)),
    st.builds(lambda a, b: wire.Uids([(min(a, b), max(a, b))]), st.integers(1, 70), st.integers(1, 70)),
)
PROGRAMS = st.recursive(
    LEAVES,
    lambda keys: st.one_of(
        st.builds(wire.Not, keys),
        st.builds(wire.AnyOf, st.lists(keys, min_size=2, max_size=3)),
        st.builds(wire.AllOf, st.lists(keys, min_size=2, max_size=3)),
    ),
    max_leaves=6,
)


async def test_random_programs(shelf: Shelf, other_shelf: Shelf) -> None:
    """An indexed mailbox, one that is half indexed, a part of it by old code, and a model find the same."""
    for looked in LOOKED:
        await shelf.add(looked.kept.octets, flags=looked.kept.flags)
        await other_shelf.add(looked.kept.octets, flags=looked.kept.flags)
    await shelf.index()
    half = [(other_shelf.account_id, kept.blob_id) for kept in other_shelf.kept[::2]]
    assert await index_blobs(other_shelf.database, other_shelf.blobs, half) == len(half)
    await forget(other_shelf, [kept.blob_id for kept in other_shelf.kept[::4]], marks=False)
    await forget(other_shelf, [kept.blob_id for kept in other_shelf.kept[::8]], marks=True)
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(PROGRAMS)
    def check(key: wire.SearchKey) -> None:
        expected = [looked.kept.uid for looked in LOOKED if looked.matches(key)]
        for searched in (shelf, other_shelf):
            found = asyncio.run_coroutine_threadsafe(searched.find(key), loop).result(60)
            assert found == expected

    await asyncio.to_thread(check)


async def forget(shelf: Shelf, blob_ids: Sequence[UUID], *, marks: bool) -> None:
    """As if these had been indexed by code that knew no compounds and addresses; `marks`: nor marks."""
    kept = (
        "NULL"
        if marks
        else f"""(
        SELECT coalesce(array_agg(mark), '{{}}') FROM unnest(marks) AS mark WHERE abs(mark) & {3 << 61} <> {3 << 61})"""
    )
    async with shelf.database.transaction() as connection:
        await run(
            connection,
            f"""UPDATE message_text SET version = 1, marks = {kept}, words = (
                    SELECT coalesce(array_agg(id), '{{}}') FROM unnest(words) AS id
                    WHERE abs(id) NOT IN (SELECT w.id FROM search_word w WHERE w.word ~ '[@.''-]'))
                WHERE account_id = :id AND blob_id = ANY (CAST(:blobs AS uuid[])) AND words IS NOT NULL""",
            id=shelf.account_id,
            blobs=list(blob_ids),
        )


@pytest.mark.parametrize("marks", [True, False])
async def test_what_old_code_indexed_is_found_and_made_anew(shelf: Shelf, marks: bool) -> None:
    await shelf.add(*LETTERS)
    assert await shelf.index() == len(LETTERS)
    assert await shelf.index() == 0
    await forget(shelf, [kept.blob_id for kept in shelf.kept[:3]], marks=marks)
    for key, uids in FOUND:
        assert await shelf.find(key) == uids, key
    assert await shelf.index() == 3
    assert await shelf.index() == 0
    for key, uids in FOUND:
        assert await shelf.find(key) == uids, key


@pytest.mark.parametrize("many", [0, 2_000])
async def test_ranks(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """The same whether fields are read in one go, for each hit, or not yet indexed."""
    monkeypatch.setattr("store_api.search.ranking.MANY", many)
    key = wire.AllOf([text("word"), text("other")])
    await shelf.add(
        letter("nothing", "a word and other things"),
        letter("a word", "and other things", To="Other <word@example.test>"),
        letter("word", "other"),
        letter("other word", "none"),
        letter("neither", "wor d other"),
        letter("late", "a word and other things"),
    )
    for _ in range(2):
        found = await ranked(shelf.database, shelf.blobs, shelf.account_id, None, (key, ("word", "other")), None, 4)
        assert found.total == 5
        assert [(rank.score, rank.uid) for rank in found.best] == [(16, 4), (10, 2), (9, 3), (2, 6)]
        rest = await ranked(
            shelf.database, shelf.blobs, shelf.account_id, None, (key, ("word", "other")), found.best[-1], 4
        )
        assert [(rank.score, rank.uid) for rank in rest.best] == [(2, 1)]
        await shelf.index()


def test_addresses_with_comments_are_found_as_envelope_has_them() -> None:
    octets = b"From: Fred <fred (or not)@ (where) example.org>\r\nTo: plain@example.org (Plain)\r\n\r\n"
    _, fields = parsing.parse(octets)
    assert fields.from_ == "fred <fred (or not)@ (where) example.org>\nfred@example.org"
    assert fields.to == "plain@example.org (plain)"


async def test_addresses_with_comments_are_found_before_they_are_indexed(shelf: Shelf) -> None:
    await shelf.add(b"From: Fred <fred (or not)@ (where) example.org>\r\n\r\n", b"From:\r\n\r\n")
    for _ in range(2):
        assert await shelf.find(wire.InHeader("from", "fred@example.org")) == [1]
        assert await shelf.find(wire.InHeader("from", "or not")) == [1]
        assert await shelf.find(wire.InHeader("from", "")) == [1, 2]
        assert await shelf.find(wire.InHeader("to", "")) == []
        await shelf.index()


async def test_phrases_of_fields(shelf: Shelf) -> None:
    await shelf.add(
        letter("one", "x", List_Id="Friends of the Python <python-list.python.org>", X_Mailer="Of Mice"),
        letter("two", "x", List_Id="others of them <list.example.org>", X_Other="python list"),
        letter("three", "list-id: <python.example>", Reply_To="python <of the@list.example>", List_Id=""),
    )
    expected: list[tuple[wire.SearchKey, list[int]]] = [
        (wire.InHeader("list-id", ""), [1, 2, 3]),
        (wire.InHeader("list-id", "list"), [1, 2]),
        (wire.InHeader("list-id", "python"), [1]),
        (wire.InHeader("list-id", "yth"), [1]),
        (wire.InHeader("list-id", "of the"), [1, 2]),
        (wire.InHeader("list-id", "of the "), [1]),
        (wire.InHeader("list-id", "python-list"), [1]),
        (wire.InHeader("list-id", "o"), [1, 2]),
        (wire.InHeader("list-id", "<"), [1, 2]),
        (wire.InHeader("reply-to", "of the"), [3]),
        (wire.InHeader("reply-to", "mice"), []),
        (wire.InHeader("x-mailer", "of mice"), [1]),
        (wire.InHeader("x-other", "python list"), [2]),
        (wire.InHeader("x-other", ""), [2]),
        (wire.InHeader("sender", ""), []),
        (text("of the"), [1, 2, 3]),
        (body("of the"), []),
        (wire.AllOf([text("python"), wire.Not(wire.InHeader("list-id", "python"))]), [2, 3]),
    ]
    for _ in range(2):
        for key, uids in expected:
            assert await shelf.find(key) == uids, key
        await shelf.index()


# Tenants, bad input


async def test_nobody_finds_anothers_messages(shelf: Shelf, other_shelf: Shelf) -> None:
    await shelf.add(letter("mine", "secret words of mine"))
    await other_shelf.add(letter("yours", "secret words of yours"))
    for _ in range(2):
        assert await shelf.find(text("yours")) == []
        assert await shelf.find(text("secret")) == [1]
        assert await everywhere(shelf, text("words")) == [1]
        with pytest.raises(NotFound):
            await find_uids(shelf.database, shelf.blobs, shelf.account_id, other_shelf.mailbox_id, EVERYTHING)
        await shelf.index()
        await other_shelf.index()


async def share_blob(shelf: Shelf, other_shelf: Shelf) -> None:
    """One message of each, with the same octets."""
    await shelf.add(letter("both", "shared words"))
    await other_shelf.add(letter("else", "other words"))
    async with shelf.database.transaction() as connection:
        await run(
            connection,
            "UPDATE message SET blob_id = :blob_id WHERE account_id = :account_id",
            blob_id=shelf.kept[0].blob_id,
            account_id=other_shelf.account_id,
        )
    other_shelf.kept[0].blob_id = shelf.kept[0].blob_id


async def test_one_blob_of_two_accounts_is_indexed_for_each(shelf: Shelf, other_shelf: Shelf) -> None:
    await share_blob(shelf, other_shelf)
    await shelf.index()
    assert await other_shelf.find(text("shared")) == [1]
    await other_shelf.index()
    assert await other_shelf.find(text("shared")) == [1]
    assert await shelf.find(text("shared")) == [1]


async def test_what_went_to_several_accounts_is_read_once(
    shelf: Shelf, other_shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await share_blob(shelf, other_shelf)
    read: list[bytes] = []

    def counted(octets: bytes) -> parsing.Indexed:
        read.append(octets)
        return parsing.index(octets)

    monkeypatch.setattr("store_api.search.indexing.index", counted)
    pairs = [(one.account_id, one.kept[0].blob_id) for one in (shelf, other_shelf)]
    assert await index_blobs(shelf.database, shelf.blobs, pairs) == 2
    assert read == [shelf.kept[0].octets]
    assert await shelf.find(text("shared")) == await other_shelf.find(text("shared")) == [1]


def deep(levels: int) -> wire.SearchKey:
    key: wire.SearchKey = EVERYTHING
    for _ in range(levels):
        key = wire.Not(key)
    return key


@pytest.mark.parametrize(
    "key",
    [deep(51), wire.AnyOf([EVERYTHING] * 2_001), text("x" * 4_001)],
    ids=["deep", "many", "long"],
)
async def test_what_is_too_large_is_refused(shelf: Shelf, key: wire.SearchKey) -> None:
    with pytest.raises(Refused):
        await shelf.find(key)


async def test_two_indexers_share_the_work(shelf: Shelf) -> None:
    await shelf.add(*LETTERS)
    taken = await asyncio.gather(*(shelf.index() for _ in range(4)))
    assert sum(taken) == len(LETTERS)
    assert await shelf.find(text("quick")) == [3]


async def test_sorted(shelf: Shelf) -> None:
    await shelf.add(
        b"Subject: Re: b\r\nFrom: Zoe <a@x.test>\r\nDate: Thu, 1 Jan 2015 12:00:00 +0000\r\n\r\n",
        b"Subject: A\r\nFrom: b@x.test\r\nDate: Thu, 1 Jan 2015 12:00:00 +0200\r\n\r\n",
        b"Subject: [list] B (fwd)\r\nFrom: =?utf-8?q?=C3=84nne?= <A@x.test>\r\n\r\n",
        b"\r\nbody",
    )
    orders = [
        ([wire.SortBy("subject")], [4, 2, 1, 3]),
        ([wire.SortBy("subject", reverse=True)], [1, 3, 2, 4]),
        ([wire.SortBy("from"), wire.SortBy("subject")], [4, 1, 3, 2]),
        ([wire.SortBy("displayfrom")], [4, 3, 2, 1]),
        ([wire.SortBy("date")], [3, 4, 2, 1]),
        ([wire.SortBy("arrival", reverse=True)], [4, 3, 2, 1]),
        ([wire.SortBy("size")], [4, 3, 2, 1]),
        ([wire.SortBy("to"), wire.SortBy("cc"), wire.SortBy("displayto")], [1, 2, 3, 4]),
    ]
    for _ in range(2):
        for criteria, uids in orders:
            wanted = wire.Search(key=EVERYTHING, sort=criteria)
            found = await search(shelf.database, shelf.blobs, shelf.account_id, shelf.mailbox_id, wanted)
            assert list(wire.unpack_numbers(found.uids)) == uids, criteria
            assert found.modseq == 4
        await shelf.index()


@pytest.mark.parametrize("dense", [0, 100])
async def test_a_part_is_sorted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    """The same where others are read and passed over, and of messages that aren't indexed, or are gone."""
    monkeypatch.setattr("store_api.search.keys.DENSE", dense)
    await shelf.add(*(b"Subject: %c\r\n\r\n%s" % (97 - n % 5, b"x" * (n % 3)) for n in range(9)))
    part = wire.Uids([(2, 2), (4, 5), (9, 9)])
    for _ in range(2):
        for by, uids in (("subject", [5, 4, 9, 2]), ("size", [4, 2, 5, 9]), ("arrival", [2, 4, 5, 9])):
            wanted = wire.Search(key=part, sort=[wire.SortBy(by)])
            found = await search(shelf.database, shelf.blobs, shelf.account_id, shelf.mailbox_id, wanted)
            assert wire.unpack_numbers(found.uids) == uids, by
        keys = await read_keys(shelf.database, shelf.account_id, shelf.mailbox_id, [2, 5, 9, 40], ["base_subject"])
        assert (keys.uids, keys.values) == ([2, 5, 9], [["`", "]", "^"]])
        nothing = await read_keys(shelf.database, shelf.account_id, shelf.mailbox_id, [], ["base_subject", "octets"])
        assert (nothing.uids, nothing.values) == ([], [[], []])
        await index_blobs(
            shelf.database, shelf.blobs, [(shelf.account_id, kept.blob_id) for kept in shelf.kept if kept.uid != 5]
        )


async def test_threaded(shelf: Shelf) -> None:
    await shelf.add(
        b"Message-ID: <a@x>\r\nSubject: one\r\n\r\n",
        b"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Re: one\r\n\r\n",
        b"Message-ID: <c@x>\r\nReferences: <gone@x>\r\nSubject: two\r\n\r\n",
        b"Message-ID: <d@x>\r\nReferences: <gone@x>\r\nSubject: three\r\n\r\n",
        b"Subject: re: ONE\r\n\r\n",
    )
    for _ in range(2):
        by_references = await shelf_threads(shelf, "references")
        assert by_references == ([1, 2, 5, 0, 3, 4], [0, 1, 1, 0, 1, 1])
        assert await shelf_threads(shelf, "orderedsubject") == ([1, 2, 5, 3, 4], [0, 1, 1, 0, 0])
        await shelf.index()


async def shelf_threads(shelf: Shelf, algorithm: wire.ThreadAlgorithm) -> tuple[list[int], list[int]]:
    wanted = wire.Search(key=EVERYTHING, thread=algorithm)
    found = await search(shelf.database, shelf.blobs, shelf.account_id, shelf.mailbox_id, wanted)
    return list(wire.unpack_numbers(found.uids)), list(wire.unpack_numbers(found.depths))


async def test_what_was_seen_as_indexed_is_not_looked_at_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store_api.search.coverage.STEP", 2)
    await shelf.add(*(letter(f"number {n}", "the same") for n in range(4)))
    assert await shelf.find(text("same")) == [1, 2, 3, 4]
    assert await known(shelf) is None
    await index_blobs(shelf.database, shelf.blobs, [(shelf.account_id, kept.blob_id) for kept in shelf.kept[:3]])
    assert await shelf.find(text("same")) == [1, 2, 3, 4]
    assert await known(shelf) == 3
    await shelf.add(letter("number 5", "the same"))
    assert await shelf.find(text("same")) == [1, 2, 3, 4, 5]
    await shelf.index()
    assert await shelf.find(text("same")) == [1, 2, 3, 4, 5]
    assert await known(shelf) == 5
    assert await everywhere(shelf, text("number 4")) == []
    assert await everywhere(shelf, text("number 3")) == [4]


async def test_an_import_below_what_was_seen_is_found(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store_api.search.coverage.STEP", 1)
    await shelf.add(letter("one", "lower"), letter("two", "upper"))
    rows = await exported(shelf)
    async with shelf.database.transaction() as connection:
        await run(connection, "DELETE FROM message WHERE account_id = :id AND uid = 1", id=shelf.account_id)
    await index_blobs(shelf.database, shelf.blobs, [(shelf.account_id, shelf.kept[1].blob_id)])
    assert await shelf.find(text("lower")) == []
    assert await known(shelf) == 2
    async with shelf.database.transaction() as connection:
        assert await import_rows(connection, rows) == {"message": (1, 1)}
    assert await shelf.find(text("lower")) == [1]
    # What a search found before the import, it doesn't write behind it.
    late = coverage.Coverage({}, [{"mailbox_id": shelf.mailbox_id, "uid": 2, "epoch": 0}])
    async with shelf.database.transaction() as connection:
        await coverage.remember(connection, shelf.account_id, late)
    assert await shelf.find(text("lower")) == [1]


async def known(shelf: Shelf) -> int | None:
    async with shelf.database.transaction() as connection:
        uids = await run(connection, "SELECT uid FROM indexed_mailbox WHERE mailbox_id = :id", id=shelf.mailbox_id)
        return uids.scalar_one_or_none()


async def exported(shelf: Shelf) -> bytes:
    """The messages as lines of an export."""
    async with shelf.database.transaction() as connection:
        rows = await run(connection, "SELECT to_jsonb(m) FROM message m WHERE account_id = :id", id=shelf.account_id)
        return b"\n".join(msgspec.json.encode({"table": "message", "row": row}) for row in rows.scalars())
