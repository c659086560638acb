"""Domains whose mail is kept here."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from store_api.api.access import Admin, TheStore
from store_api.api.v1.common import DIRECTORY, Input
from store_api.directory.domains import create_domain, list_domains

router = APIRouter(tags=[DIRECTORY])


class NewDomain(Input):
    name: str = Field(examples=["example.test"], max_length=253)


class Domain(BaseModel):
    name: str


class Domains(BaseModel):
    items: list[Domain]


@router.post("/domains", status_code=201)
async def post_domain(store: TheStore, actor: Admin, new: NewDomain) -> Domain:
    """Create a domain whose mail is kept here."""
    await create_domain(store.database, new.name)
    return Domain(name=new.name.lower())


@router.get("/domains")
async def get_domains(store: TheStore, actor: Admin) -> Domains:
    """All domains, by name."""
    return Domains(items=[Domain(name=name) for name in await list_domains(store.database)])
