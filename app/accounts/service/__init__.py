"""The verbs of the accounts room. None of them commits, except where its docstring says so."""

from __future__ import annotations

from app.accounts.service.asking import ask, chat_price, draw, image_price
from app.accounts.service.keys import create_key, revoke_key
from app.accounts.service.limits import Limits, change_limits, limits_of
from app.accounts.service.model_tests import Tested, try_model
from app.accounts.service.notices import (
    EVERY_KIND,
    choose_notices,
    notice_headers,
    read_unsubscribe_token,
    unsubscribe,
    unsubscribe_url,
)
from app.accounts.service.people import (
    change_profile,
    change_standing,
    find_or_make_person,
    invite,
    may_sign_up,
    withdraw_invitation,
)
from app.accounts.service.sessions import close_all_sessions, close_session, open_session, revoke_session
from app.accounts.service.sign_in import SignedIn, administrator_link, consume_code, consume_link, start_sign_in
from app.accounts.service.usage import (
    OverBudget,
    ensure_budget,
    ensure_storage,
    give_back,
    record_usage,
    register_storage,
    storage_left,
    storage_used,
)

__all__ = [
    "EVERY_KIND",
    "Limits",
    "OverBudget",
    "SignedIn",
    "Tested",
    "administrator_link",
    "ask",
    "change_limits",
    "change_profile",
    "change_standing",
    "chat_price",
    "choose_notices",
    "close_all_sessions",
    "close_session",
    "consume_code",
    "consume_link",
    "create_key",
    "draw",
    "ensure_budget",
    "ensure_storage",
    "find_or_make_person",
    "give_back",
    "image_price",
    "invite",
    "limits_of",
    "may_sign_up",
    "notice_headers",
    "open_session",
    "read_unsubscribe_token",
    "record_usage",
    "register_storage",
    "revoke_key",
    "revoke_session",
    "start_sign_in",
    "storage_left",
    "storage_used",
    "try_model",
    "unsubscribe",
    "unsubscribe_url",
    "withdraw_invitation",
]
