"""A shop: two workflows on the engine, and what the engine needs from whoever uses it. Nothing of the product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from app.engine import Context, Ports, Step, Verdict, create_schema, start, workflow

stock = sa.Table("stock", sa.MetaData(), sa.Column("item", sa.Text, primary_key=True), sa.Column("left", sa.Integer))
scope: ContextVar[object] = ContextVar("scope", default=None)


@workflow("sell", on="shop/ordered")
def sell(ctx: Context, step: Step) -> dict[str, int]:
    """Take an item from the shelf once, have it shipped, and tell others."""
    left = step.transaction("take", take, ctx.event.data["item"])
    parcel = step.invoke("ship", ship, ctx.event.data)
    step.send_event("tell", "shop/sold", {"parcel": parcel})
    return {"left": left, "parcel": parcel}


@workflow("ship")
def ship(ctx: Context, step: Step) -> int:
    """Pack an item; the carrier comes later."""
    number = step.run("pack", len, ctx.event.data["item"])
    step.sleep("until-collected", ctx.event.data["collected_in"])
    return number


def take(session: Session, item: str) -> int:
    """Take one from the shelf; returns how many are left."""
    query = sa.update(stock).where(stock.c.item == item).values(left=stock.c.left - 1).returning(stock.c.left)
    return session.scalars(query).one()


def open_shop(database_url: str, redis_url: str = "") -> scoped_session[Session]:
    """Make the tables and start the engine of this process; returns the session that events are sent in."""
    database = sa.create_engine(database_url)
    session = scoped_session(sessionmaker(database), scopefunc=scope.get)

    @contextmanager
    def session_of_its_own() -> Iterator[None]:
        token = scope.set(object())
        try:
            yield
        finally:
            session.remove()
            scope.reset(token)

    with database.begin() as connection:
        create_schema(connection)
        stock.metadata.create_all(connection)
    start(Ports(database, session, session_of_its_own, lambda _error: Verdict(True), lambda _topics: None, redis_url))
    return session
