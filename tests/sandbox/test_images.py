"""The real `openai` client has the sandbox draw."""

from __future__ import annotations

import base64
import io

import av
import openai
import pytest


def draw(client, prompt="A talk about tides", **more):
    answer = client.images.generate(model="sandbox-image", prompt=prompt, **more)
    return answer, [base64.b64decode(each.b64_json) for each in answer.data]


def size_of(picture):
    with av.open(io.BytesIO(picture)) as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


def test_a_picture_is_a_png_of_the_size_asked_for(client):
    answer, [picture] = draw(client, size="320x192")
    assert picture.startswith(b"\x89PNG")
    assert size_of(picture) == (320, 192)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert size_of(draw(client)[1][0]) == (1024, 1024)


def test_the_prompt_alone_decides_what_is_drawn(client):
    assert draw(client, size="64x64")[1] == draw(client, size="64x64")[1]
    assert draw(client, size="64x64")[1] != draw(client, "Another talk", size="64x64")[1]
    _, two = draw(client, size="64x64", n=2)
    assert two[0] != two[1]


@pytest.mark.parametrize(
    "more",
    [{"size": "1x1"}, {"size": "big"}, {"size": "9000x9000"}, {"n": 11}, {"output_format": "gif"}, {"prompt": " "}],
)
def test_what_cannot_be_drawn_is_refused(client, more):
    with pytest.raises(openai.BadRequestError):
        draw(client, **more)


def test_drawing_has_the_same_faults(client, sandbox):
    with pytest.raises(openai.RateLimitError):
        client.images.generate(model="fault-429", prompt="a")
    with pytest.raises(openai.NotFoundError):
        client.images.generate(model="dall-e-3", prompt="a")
    assert [call["status"] for call in sandbox.calls()["calls"]] == [429, 404]
