"""What several workers ask of the store at about the same time goes in one call, to a store of yesterday one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from mail_runtime.contracts.errors import Conflict, NotFound, StoreError
from mail_runtime.contracts.store import Claim, ClaimDeliveries, ClaimedDelivery, Outcome, Outcomes
from smtp_out.queue import Queue


class Store:
    """Stands where StoreClient stands; grants every second claim and report. `is_old`: it knows no batches."""

    def __init__(self, *, is_old: bool = False) -> None:
        self.is_old = is_old
        self.calls: list[tuple[str, int]] = []

    def _batch(self, name: str, asked: Sequence[object]) -> None:
        self.calls.append((name, len(asked)))
        if self.is_old:
            raise NotFound("there is no such route")

    async def claim_all(self, wanted: Sequence[ClaimDeliveries]) -> list[Claim | Conflict]:
        self._batch("claims", wanted)
        return [granted(each) if each.lease_s % 2 else Conflict("taken") for each in wanted]

    async def report_all(self, reports: Sequence[Outcomes]) -> list[StoreError | None]:
        self._batch("reports", reports)
        return [None if report.outcomes else Conflict("lost") for report in reports]

    async def claim(self, wanted: ClaimDeliveries) -> Claim:
        self.calls.append(("claim", 1))
        if not wanted.lease_s % 2:
            raise Conflict("taken")
        return granted(wanted)

    async def report(self, report: Outcomes) -> None:
        self.calls.append(("report", 1))
        if not report.outcomes:
            raise Conflict("lost")


def granted(wanted: ClaimDeliveries) -> Claim:
    deliveries = [ClaimedDelivery(id=each, recipient="b@there.test", attempts=1) for each in wanted.delivery_ids]
    return Claim(
        transmission_id=uuid4(),
        reverse_path="",
        blob_id=uuid4(),
        octets=1,
        smtputf8=False,
        deliveries=deliveries,
    )


@pytest.mark.parametrize("is_old", [False, True])
async def test_claims_go_together(*, is_old: bool) -> None:
    store = Store(is_old=is_old)
    queue = Queue(store)  # type: ignore[arg-type]
    wanted = [ClaimDeliveries(delivery_ids=[uuid4()], lease=uuid4(), lease_s=n) for n in (1, 2, 3)]
    answers = await asyncio.gather(*map(queue.claim, wanted), return_exceptions=True)
    assert isinstance(answers[1], Conflict)
    for n in (0, 2):
        answer = answers[n]
        assert isinstance(answer, Claim)
        assert [delivery.id for delivery in answer.deliveries] == wanted[n].delivery_ids
    assert store.calls == [("claims", 3), *[("claim", 1)] * 3 * is_old]


@pytest.mark.parametrize("is_old", [False, True])
async def test_each_report_has_its_answer(*, is_old: bool) -> None:
    store = Store(is_old=is_old)
    queue = Queue(store)  # type: ignore[arg-type]
    outcome = Outcome(delivery_id=uuid4(), result="delivered", reply="250 ok")
    reports = [Outcomes(lease=uuid4(), outcomes=outcomes) for outcomes in ([outcome], [], [outcome])]
    answers = await asyncio.gather(*map(queue.report, reports), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), Conflict, type(None)]
    assert sum(number for name, number in store.calls if name == ("report" if is_old else "reports")) == 3
