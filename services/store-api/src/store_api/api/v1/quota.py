"""How full an account is."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from store_api.api.access import TheAccount, TheStore
from store_api.api.v1.common import MESSAGES
from store_api.mailboxes.quota import quota_of

router = APIRouter(prefix="/accounts/{address}", tags=[MESSAGES])


class Quota(BaseModel):
    """What is used and what may be; without a limit, as much as there is room. A domain's own quota isn't shown."""

    octets: int = Field(examples=[73_400_320])
    messages: int = Field(examples=[4_211])
    octets_limit: int | None = Field(description="none: unlimited", examples=[1_073_741_824])
    messages_limit: int | None = Field(description="none: unlimited", examples=[None])


@router.get("/quota")
async def get_quota(store: TheStore, account: TheAccount) -> Quota:
    """What an account uses, and its quota: its own, else the one that its domain gives to each account."""
    return Quota.model_validate(await quota_of(store.database, account.id), from_attributes=True)
