"""The real `openai` client embeds against the sandbox."""

from __future__ import annotations

import math

import openai
import pytest

MODEL = "sandbox-embed"


def embed(client, texts, **options):
    return client.embeddings.create(model=MODEL, input=texts, **options)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_vectors_have_1536_dimensions_and_unit_length(client):
    vector = embed(client, "The sea rises twice a day.", encoding_format="float").data[0].embedding
    assert len(vector) == 1536
    assert math.hypot(*vector) == pytest.approx(1)


def test_base64_and_float_are_the_same_vector(client):
    packed = embed(client, "The sea.", encoding_format="base64").data[0].embedding
    import base64
    import struct

    floats = embed(client, "The sea.", encoding_format="float").data[0].embedding
    assert struct.unpack("<1536f", base64.b64decode(packed)) == pytest.approx(floats, abs=1e-6)
    assert embed(client, "The sea.").data[0].embedding == pytest.approx(floats, abs=1e-6)  # what the client asks itself


def test_several_inputs_keep_their_order_and_count_their_tokens(client):
    answer = embed(client, ["one", "two", "one"])
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.data[0].embedding == answer.data[2].embedding != answer.data[1].embedding
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 3


def test_dimensions_can_be_asked_for(client):
    vector = embed(client, "The sea.", dimensions=256).data[0].embedding
    assert len(vector) == 256
    assert math.hypot(*vector) == pytest.approx(1)


def test_texts_that_share_words_are_nearer(client):
    texts = [
        "When does the spring tide come?",
        "The spring tide lifts the water very high.",
        "Knead the dough with wet hands.",
    ]
    query, near, far = (item.embedding for item in embed(client, texts).data)
    assert cosine(query, near) > 0.3 > cosine(query, far)


def test_other_forms_of_a_word_and_accents_are_near(client):
    a, b, c, d = (item.embedding for item in embed(client, ["floods", "flooded", "Überflutung", "uberflutung"]).data)
    assert cosine(a, b) > 0.2
    assert cosine(c, d) == pytest.approx(1)


def test_text_without_words_still_has_a_vector(client):
    assert math.hypot(*embed(client, "…!?").data[0].embedding) == pytest.approx(1)


@pytest.mark.parametrize("texts", ["", [], ["a", ""], ["a"] * 2049])
def test_inputs_that_cannot_be_embedded_are_refused(client, texts):
    with pytest.raises(openai.BadRequestError):
        embed(client, texts)


def test_a_text_that_is_too_long_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        embed(client, "word " * 20_000)
    assert caught.value.code == "context_length_exceeded"


def test_openai_names_are_known_and_others_are_not(client):
    assert len(client.embeddings.create(model="text-embedding-3-large", input="a").data[0].embedding) == 3072
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="text-embedding-9", input="a")


def test_models_are_listed(client):
    names = {model.id for model in client.models.list()}
    assert {"sandbox-transcribe", "sandbox-embed", "text-only", "whisper-1"} <= names
    assert client.models.retrieve("sandbox-embed").id == "sandbox-embed"


def test_vectors_of_two_models_have_nothing_in_common(client):
    one, other = (
        client.embeddings.create(model=model, input="The moon pulls on the sea every day.").data[0].embedding
        for model in ("sandbox-embed", "text-embedding-3-small")
    )
    assert abs(sum(left * right for left, right in zip(one, other, strict=True))) < 0.2
