"""The password of an account, and its app passwords."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from mail_runtime.contracts.errors import AuthenticationFailed
from store_api.accounts.app_passwords import (
    MAX_PER_ACCOUNT,
    create_app_password,
    list_app_passwords,
    revoke_app_password,
)
from store_api.accounts.changing import change_password
from store_api.api.access import TheAccount, TheActor, TheStore, check_own_password
from store_api.api.idempotency import CreationId, Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import Input

router = APIRouter(route_class=Idempotent, prefix="/accounts/{address}", tags=["credentials"])

Service = Literal["imap", "pop3", "smtp", "api"]


class NewPassword(Input):
    """An account that changes its own password says the present one; administrators needn't."""

    password: str = Field(max_length=1024, repr=False, examples=["correct horse battery staple"])
    current_password: str | None = Field(None, max_length=1024, repr=False, examples=["correct horse battery"])


class NewAppPassword(Input):
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        description="for people: which device or program has it", examples=["phone"]
    )
    scopes: Annotated[list[Service], Field(min_length=1, max_length=4)] = Field(
        description="what it opens", examples=[["imap", "smtp"]]
    )


class AppPassword(BaseModel):
    id: UUID
    name: str
    scopes: list[Service]
    created_at: datetime
    last_used_at: datetime | None = Field(description="to the minute")


class CreatedAppPassword(BaseModel):
    id: UUID
    name: str
    scopes: list[Service]
    password: str = Field(description="shown this once", examples=["k3w9xm-ab2cde-fgh4jk-mnpq56"])


class AppPasswords(BaseModel):
    items: list[AppPassword]


@router.put("/password", status_code=204)
async def put_password(
    store: TheStore, request: Request, actor: TheActor, account: TheAccount, new: NewPassword
) -> None:
    """Change the password. Sessions that are open are closed; app passwords and tokens stay as they are."""
    if actor.scope == "account" and new.current_password is None:
        raise Refusal("forbidden", "say the current password too")
    if new.current_password is not None:
        try:
            await check_own_password(request, account.address, new.current_password)
        except AuthenticationFailed as error:
            raise Refusal("refused", "the current password is wrong") from error
    await change_password(store.database, store.passwords, actor.name, account.id, new.password)
    await store.notifier.account_changed(account.id, "password")


@router.post("/app-passwords", status_code=201, description=f"An account has {MAX_PER_ACCOUNT} at most.")
async def post_app_password(
    store: TheStore, actor: TheActor, account: TheAccount, new: NewAppPassword, app_id: CreationId
) -> CreatedAppPassword:
    """Create an app password."""
    scopes = sorted(set(new.scopes))
    password = await create_app_password(
        store.database, store.passwords, actor.name, account.id, app_id, new.name, scopes
    )
    return CreatedAppPassword(id=app_id, name=new.name, scopes=scopes, password=password)


@router.get("/app-passwords")
async def get_app_passwords(store: TheStore, account: TheAccount) -> AppPasswords:
    """The app passwords of an account, oldest first; without the passwords."""
    rows = await list_app_passwords(store.database, account.id)
    return AppPasswords(items=[AppPassword.model_validate(row, from_attributes=True) for row in rows])


@router.delete("/app-passwords/{app_password_id}", status_code=204)
async def delete_app_password(store: TheStore, actor: TheActor, account: TheAccount, app_password_id: UUID) -> None:
    """Revoke an app password. The account's open sessions are closed; those with other passwords may come back."""
    await revoke_app_password(store.database, actor.name, account.id, app_password_id)
    await store.notifier.account_changed(account.id, "password")
