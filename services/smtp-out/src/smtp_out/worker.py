"""One job of the queue from claim to acknowledgement.

A job is acknowledged only when the store has committed what became of it. A worker that dies leaves a lease that
runs out and the store publishes the job again, so a lost message on NATS loses no mail; a job that comes twice finds
its deliveries claimed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol
from uuid import UUID, uuid4

import msgspec
import structlog
from nats.errors import Error as NatsError

from mail_proto.smtp.client_actions import Verdict
from mail_runtime.contracts.errors import Conflict, NotFound, StoreError, Unavailable
from mail_runtime.contracts.store import Claim, ClaimDeliveries, Outcome, Outcomes, RelayJob
from smtp_out.attempt import Sender, about_all
from smtp_out.destinations import Destinations, Visit
from smtp_out.metrics import BUSY, RUNNING, UNRECORDED, count
from smtp_out.pace import Busy
from smtp_out.plans import Plan, Planner

log = structlog.get_logger()

# A lease is renewed while we work: this often, or four times before it runs out.
RENEW_S: Final = 30.0
# NATS delivers again what it hasn't heard of for so long.
ACK_WAIT_S: Final = 60.0
IN_PROGRESS_S: Final = 20.0
STORE_DOWN_DELAY_S: Final = 5.0
# A job for a destination that takes no more now comes again, each time later.
BUSY_DELAY_LIMIT_S: Final = 30.0
REPORT_AGAIN_S: Final = 1.0
INTERRUPTED_REPORT_S: Final = 1.0


class Store(Protocol):
    """As `queue.Queue` has it."""

    async def claim(self, claim: ClaimDeliveries) -> Claim: ...
    async def queued_message(self, transmission_id: UUID) -> bytes: ...
    async def report(self, outcomes: Outcomes) -> None: ...


class Metadata(Protocol):
    """What JetStream knows of a message."""

    @property
    def num_delivered(self) -> int: ...


class Job(Protocol):
    """The part of a JetStream message used here."""

    @property
    def data(self) -> bytes: ...
    @property
    def metadata(self) -> Metadata: ...
    async def ack(self) -> None: ...
    async def nak(self, delay: int | float | None = None) -> None: ...
    async def term(self) -> None: ...
    async def in_progress(self) -> None: ...


class LeaseLost(Exception):
    """Somebody else may be sending: ours must stop."""


class _Work:
    """A claim: which of its deliveries have no outcome yet (`left`), and which outcomes the store doesn't have yet."""

    def __init__(self, claim: Claim, lease: UUID, fields: dict[str, str]) -> None:
        self.claim, self.lease, self.fields = claim, lease, fields
        self.left = list(claim.deliveries)
        self.unreported: list[Outcome] = []

    def ended(self, outcomes: list[Outcome]) -> None:
        """These are known; the store is told next."""
        known = {outcome.delivery_id for outcome in outcomes}
        self.left = [delivery for delivery in self.left if delivery.id not in known]
        self.unreported = list(outcomes)


class Worker:
    """Handles jobs; call `handle` concurrently, as often as the process may send at a time."""

    def __init__(
        self, store: Store, planner: Planner, destinations: Destinations, sender: Sender, lease_s: int
    ) -> None:
        self._store, self._planner, self._destinations = store, planner, destinations
        self._sender, self._lease_s = sender, lease_s

    async def handle(self, message: Job) -> None:
        """Do the job and settle it on NATS. Cancelled: what wasn't sent is reported deferred."""
        try:
            job = msgspec.msgpack.decode(message.data, type=RelayJob)
        except msgspec.MsgspecError as error:
            log.error("job_unreadable", error=str(error))
            await _settled(message.term())
            return
        try:
            with RUNNING.track_inprogress():
                async with _repeating(IN_PROGRESS_S, lambda: _settled(message.in_progress())):
                    acknowledge = await self._planned(job)
        except Busy as busy:
            BUSY.inc()
            await _settled(message.nak(delay=_later(busy, message.metadata.num_delivered)))
            return
        if acknowledge:
            await _settled(message.ack())
        else:
            await _settled(message.nak(delay=STORE_DOWN_DELAY_S))

    async def _planned(self, job: RelayJob) -> bool:
        """See whether the destination can be visited, then do the job. Raises Busy: nothing was claimed."""
        plan = await self._planner.plan(job.domain, job.sender_domain)
        if plan.fault is not None:
            return await self._do(job, plan, Verdict(plan.fault.result, plan.fault.text, plan.fault.status))
        if down := self._destinations.down(plan.destination):
            return await self._do(job, plan, Verdict("deferred", f"not tried, as a short while ago: {down}", "4.4.1"))
        async with self._destinations.visit(plan.destination, plan.limits) as visit:
            return await self._do(job, plan, visit)

    async def _do(self, job: RelayJob, plan: Plan, way: Visit | Verdict) -> bool:
        """Send, or tell why not, and report. True: the job is done with; False: it must come again."""
        lease = uuid4()
        fields = {"queue_id": str(job.transmission_id), "domain": job.domain}
        want = ClaimDeliveries(
            delivery_ids=job.delivery_ids,
            lease=lease,
            lease_s=self._lease_s,
            with_message=not isinstance(way, Verdict),
        )
        try:
            work = _Work(await self._store.claim(want), lease, fields)
        except (Conflict, NotFound):
            log.info("job_already_done_or_leased", **fields)
            return True
        except StoreError as error:
            log.info("store_unavailable", error=str(error), **fields)
            return False
        try:
            if isinstance(way, Verdict):
                return await self._report(work, about_all(work.left, way))
            return await self._attempt(work, plan, way)
        except LeaseLost:
            log.warning("lease_lost", **fields)
            return True
        except StoreError as error:
            # The claim ends by itself; the report only makes that sooner.
            log.warning("message_unavailable", error=str(error), **fields)
            missing = Verdict("deferred", "the message store doesn't answer", "4.3.0")
            return await self._report(work, about_all(work.left, missing))
        except asyncio.CancelledError:
            log.info("interrupted", **fields)
            await self._report_interrupted(work)
            raise

    async def _attempt(self, work: _Work, plan: Plan, visit: Visit) -> bool:
        """Send under a lease that is kept alive, and report each transaction at once.

        Raises LeaseLost. StoreError: nothing was sent.
        """

        async def renew() -> None:
            if not work.left:
                return
            held = [delivery.id for delivery in work.left]
            try:
                await self._store.claim(ClaimDeliveries(delivery_ids=held, lease=work.lease, lease_s=self._lease_s))
            except Conflict as error:
                raise LeaseLost from error
            except StoreError as error:
                log.info("lease_not_renewed", error=str(error))

        done = True
        async with _repeating(min(RENEW_S, self._lease_s / 4), renew):
            message = work.claim.message
            if message is None:
                message = await self._store.queued_message(work.claim.transmission_id)
            async for outcomes in self._sender.send(work.claim, plan, visit, message):
                with UNRECORDED.time():
                    done = await self._report(work, outcomes) and done
        return done

    async def _report_interrupted(self, work: _Work) -> None:
        """What the remote has said already, and that the rest wasn't sent; as far as there is time."""
        interrupted = Verdict("deferred", "interrupted by a restart", "4.3.2")
        outcomes = [*work.unreported, *about_all(work.left, interrupted)]
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(INTERRUPTED_REPORT_S):
                await self._store.report(Outcomes(lease=work.lease, outcomes=outcomes))

    async def _report(self, work: _Work, outcomes: list[Outcome]) -> bool:
        """Report until the store has it: giving up would send mail twice that was delivered once."""
        work.ended(outcomes)
        while True:
            try:
                await self._store.report(Outcomes(lease=work.lease, outcomes=outcomes))
            except Conflict:
                log.warning("report_of_lost_lease", lease=str(work.lease))
            except Unavailable:
                await asyncio.sleep(REPORT_AGAIN_S)
                continue
            except StoreError as error:
                log.error("report_refused", error=str(error))
                return False
            work.unreported.clear()
            _tell(outcomes, work.fields)
            return True


def _tell(outcomes: list[Outcome], fields: dict[str, str]) -> None:
    """Count and log: after the report, which mustn't wait for it."""
    for outcome in outcomes:
        count(fields["domain"], outcome.result)
        log.info(
            "delivery_ended",
            delivery_id=str(outcome.delivery_id),
            result=outcome.result,
            status=outcome.status,
            reply=outcome.reply,
            remote=outcome.remote,
            tls=outcome.tls,
            **fields,
        )


@contextlib.asynccontextmanager
async def _repeating(pause_s: float, act: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `act` every `pause_s` while the block runs; what it raises ends the block."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(pause_s)
            await act()

    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(repeat())
            yield
            task.cancel()
    except BaseExceptionGroup as group_error:
        # One failure at a time is what callers expect.
        raise group_error.exceptions[0] from None


async def _settled(word: Awaitable[None]) -> None:
    """A word to NATS; a lost one only means that the job comes again."""
    try:
        await word
    except (NatsError, OSError, TimeoutError) as error:
        log.info("job_not_settled", error=repr(error))


def _later(busy: Busy, deliveries: int) -> float:
    """Seconds until the job comes again: what the destination asks for, growing, and not all at the same moment."""
    growing = min(BUSY_DELAY_LIMIT_S, 0.5 * 1.5 ** min(deliveries, 30))
    return max(busy.delay_s, growing) * random.uniform(0.8, 1.2)  # noqa: S311 (nothing secret)
