"""The public REST API: a module for each subject, with its values and routes."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from store_api.api.access import authenticated
from store_api.api.openapi import known_parameters
from store_api.api.v1 import (
    accounts,
    aliases,
    appending,
    audit,
    credentials,
    deleted,
    dkim,
    domains,
    events,
    health,
    mailboxes,
    message_actions,
    messages,
    queue,
    quota,
    remote_domains,
    rights,
    search,
    sending,
    statistics,
    suppressions,
    tokens,
    transfer,
    webhooks,
)

router = APIRouter(prefix="/v1", dependencies=[Depends(authenticated), Depends(known_parameters)])
for subject in (
    domains,
    accounts,
    aliases,
    tokens,
    credentials,
    transfer,
    mailboxes,
    rights,
    messages,
    message_actions,
    search,
    sending,
    deleted,
    quota,
    appending,
    queue,
    remote_domains,
    suppressions,
    dkim,
    events,
    webhooks,
    statistics,
    audit,
    health,
):
    router.include_router(subject.router)
