"""Large bodies in which everything is wrong: refused soon, and in few words."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

SIZE = 150_000
CHAT, APPLY = "/v1/chat/completions", "/v1/lines/plates/feedback/apply"


def much(of: str, size: int = SIZE) -> str:
    return f"[{','.join([of] * (size // (len(of) + 1)))}]"


def chat(messages: str) -> str:
    return f'{{"model": "plates", "messages": {messages}}}'


def message(content: str) -> str:
    return f'{{"role": "user", "content": {content}}}'


BODIES = {
    "messages": (CHAT, chat(much("{}"))),
    "numbers": (CHAT, chat(much("1"))),
    "contents": (CHAT, chat(much(message("1")))),
    "parts": (CHAT, chat(f"[{message(much('{}'))}]")),
    "a part each": (CHAT, chat(much(message("[{}]")))),
    "good messages": (CHAT, chat(much(message('""')))),
    "good parts": (CHAT, chat(f"[{message(much(json.dumps({'type': 'text'})))}]")),
    "ids": (APPLY, f'{{"feedback": {much("1")}}}'),
}


@pytest.mark.parametrize(("path", "body"), BODIES.values(), ids=BODIES)
def test_much_that_is_wrong_is_refused_soon(client: TestClient, path: str, body: str) -> None:
    said = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == 422
    assert len(said.content) < 1000


@pytest.mark.parametrize("of", ["[]", "{}", "1", "1.5"])
def test_what_takes_seconds_to_read_is_not_read(client: TestClient, of: str) -> None:
    body = chat(much(of, 2 * 2**20))
    said = client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == 413
    assert "commas" in said.json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [
        "\ud800",
        [{"type": "text", "text": "\ud800"}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,\ud800"}}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,\u00e9"}}],
        [{"type": "image_url", "image_url": {"url": "\ud800"}}],
    ],
)
def test_letters_that_are_none_are_refused(client: TestClient, content: object) -> None:
    messages = [{"role": "user", "content": content}]
    said = client.post(
        CHAT,
        content=json.dumps({"model": "plates", "messages": messages}),
        headers={"Content-Type": "application/json"},
    )
    assert said.status_code == 422, said.text
