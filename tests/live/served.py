"""The app as gunicorn serves it, with one live topic more: `who:<user id>`, which shows a person's name."""

from uuid import UUID

from flask import render_template_string
from flask_login import login_required
from markupsafe import Markup

from app import create_app, live
from app.accounts.models import User
from app.db import db

CARD = Markup(
    '<section id="who-{id}"><h2 id="who-name">{name}</h2><details id="who-more"><summary>More</summary>More</details>'
    '<label>Note <input id="who-note" name="note"></label></section>'
)
PAGE = """{% extends "base.html" %}{% block title %}Who{% endblock %}{% block main %}<h1>Who</h1>
<div hx-ws:connect="{{ live_url('who:%s/card' % id) }}">{{ card }}</div>{% endblock %}"""

app = create_app()


def card(user_id: UUID) -> Markup:
    return CARD.format(id=user_id, name=db.session.get(User, user_id).name)


app.extensions["throughline.live"].sockets_per_person = 5000  # tests/bench opens that many for one person
live.register("who", "card", authorise=lambda user, user_id: user.id == user_id, render=card)


@app.get("/who/<uuid:user_id>")
@login_required
def who(user_id: UUID) -> str:
    return render_template_string(PAGE, id=user_id, card=card(user_id))
