"""Dialogue, and OpenAI's own client against the endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from blemish import build
from blemish.errors import ChatError, ServiceError
from blemish.service import remote, streams
from blemish.service.streams import Streams

if TYPE_CHECKING:
    import openai
else:
    openai = pytest.importorskip("openai", reason="needs openai: pip install 'blemish[dev]'")

Part = Callable[..., bytes]
TOKEN = "canary-token-1234567890"


@pytest.fixture(scope="module")
def talking(
    opened: Callable[..., TestClient], part: Part, tmp_path_factory: pytest.TempPathFactory
) -> TestClient:
    """A client of a station whose line "plates" talks by a script."""
    script = tmp_path_factory.mktemp("script") / "script.json"
    script.write_text(json.dumps({"Where": "At the <b>top</b>.", "colour": "Grey."}))
    made = opened()
    files = [("references", (f"{seed}.png", part(seed))) for seed in range(6)]
    fields = {
        "name": "plates",
        "options": '{"augment": "none"}',
        "language_model": f"scripted:{script}",
    }
    said = made.post("/v1/lines", data=fields, files=files)
    assert said.status_code == 201, said.text
    while made.get("/v1/lines/plates").json()["state"] == "fitting":
        time.sleep(0.05)
    return made


@pytest.fixture
def chat(talking: TestClient) -> openai.OpenAI:
    """OpenAI's client on that station."""
    base = "http://localhost:8000/v1"
    return openai.OpenAI(api_key="none", base_url=base, http_client=talking, max_retries=0)


def shown(picture: bytes, text: str = "") -> list[Any]:
    address = "data:image/png;base64," + base64.b64encode(picture).decode()
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": address}}]
    if text:
        parts.append({"type": "text", "text": text})
    return [{"role": "user", "content": parts}]


def extra(said: Any) -> Any:
    """What the station adds to OpenAI's answer."""
    return said.model_extra["inspection"]


def test_lines_are_models(chat: openai.OpenAI) -> None:
    assert [model.id for model in chat.models.list()] == ["plates"]
    assert chat.models.retrieve("plates").owned_by == "blemish"
    with pytest.raises(openai.NotFoundError, match="nothing"):
        chat.models.retrieve("nothing")


def test_a_chat_about_a_picture(chat: openai.OpenAI, talking: TestClient, part: Part) -> None:
    messages = shown(part(103, "stain"), "Where is it?")
    said = chat.chat.completions.create(model="plates", messages=messages)
    assert said.choices[0].message.content == "At the <b>top</b>."
    inspection = extra(said)
    assert inspection["verdict"] == "anomalous"
    messages += [
        {"role": "assistant", "content": said.choices[0].message.content},
        {"role": "user", "content": "What colour is it?"},
    ]
    again = chat.chat.completions.create(model="plates", messages=messages)
    assert again.choices[0].message.content == "Grey."
    assert extra(again) == inspection
    assert talking.get(f"/v1/inspections/{inspection['id']}/messages").json() == []


def test_chats_about_the_same_picture_know_nothing_of_each_other(
    chat: openai.OpenAI, talking: TestClient, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said before is what the chat itself says, from its last picture on."""
    heard: list[Any] = []

    class Speaker:
        def reply(self, conversation: Any) -> Iterator[str]:
            heard.append([(turn.question, turn.answer) for turn in conversation.turns])
            yield "Well."

    monkeypatch.setattr(build, "speaker", lambda *_, **__: Speaker())
    old, new = shown(part(107, "stain"), "An older part."), shown(part(108, "stain"), "Where?")

    def say(*messages: Any) -> str:
        said = chat.chat.completions.create(model="plates", messages=messages)
        return str(extra(said)["id"])

    def answer(text: str) -> dict[str, str]:
        return {"role": "assistant", "content": text}

    def ask(text: str) -> dict[str, str]:
        return {"role": "user", "content": text}

    first = say(*new)
    second = say(*new)
    page = talking.post(f"/v1/inspections/{first}/messages", json={"question": "A page's."})
    assert page.status_code == 200
    third = say(*new, answer("Mine."), ask("Lost."), ask("How large?"), answer("5 mm."), ask("Ok?"))
    other = say(*old, answer("Fine."), *new, answer("Here."), ask("Sure?"))
    assert first == second == third != other
    assert heard == [
        [("Where?", None)],
        [("Where?", None)],
        [("A page's.", None)],
        [("Where?", "Mine."), ("How large?", "5 mm."), ("Ok?", None)],
        [("Where?", "Here."), ("Sure?", None)],
    ]
    assert talking.get("/v1/jobs?line=plates").json()[0]["total"] == 1


def test_a_chat_whose_picture_was_cancelled_or_deleted_is_inspected_again(
    chat: openai.OpenAI, talking: TestClient, part: Part
) -> None:
    messages = shown(part(109, "stain"))
    first = extra(chat.chat.completions.create(model="plates", messages=messages))["id"]
    assert talking.delete(f"/v1/inspections/{first}").status_code == 204
    again = extra(chat.chat.completions.create(model="plates", messages=messages))["id"]
    assert again != first


def test_a_streamed_answer(chat: openai.OpenAI, part: Part) -> None:
    messages = shown(part(104, "stain"), "Where is it?")
    chunks = list(chat.chat.completions.create(model="plates", messages=messages, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "At the <b>top</b>."
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_without_a_question_the_findings_are_told(chat: openai.OpenAI, part: Part) -> None:
    said = chat.chat.completions.create(model="plates", messages=shown(part(103, "stain")))
    text = said.choices[0].message.content or ""
    assert text.startswith("Anomalous, score ")
    assert "Region 1, " in text


def test_pictures_elsewhere_are_not_fetched(chat: openai.OpenAI) -> None:
    for address in ("http://127.0.0.1/a.png", "file:///etc/passwd", "data:text/html;base64,AAAA"):
        messages = shown(b"")
        messages[0]["content"][0]["image_url"]["url"] = address
        with pytest.raises(openai.UnprocessableEntityError, match="expected a data address"):
            chat.chat.completions.create(model="plates", messages=messages)


def test_a_picture_of_a_named_host_is_fetched_each_time(
    talking: TestClient, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = iter([part(50), part(103, "stain")])
    monkeypatch.setattr(remote, "fetched", lambda *_: next(pictures))
    messages = shown(b"")
    messages[0]["content"][0]["image_url"]["url"] = "http://cameras.example/now.png"
    verdicts = []
    for _ in range(2):
        body = {"model": "plates", "messages": messages}
        verdicts.append(talking.post("/v1/chat/completions", json=body).json()["inspection"])
    assert [one["verdict"] for one in verdicts] == ["normal", "anomalous"]


def test_chats_that_cannot_be_answered(chat: openai.OpenAI) -> None:
    create = chat.chat.completions.create
    with pytest.raises(openai.UnprocessableEntityError, match="No picture came"):
        create(model="plates", messages=[{"role": "user", "content": "Hello"}])
    with pytest.raises(openai.UnprocessableEntityError, match="chat"):
        create(model="plates", messages=shown(b"no picture", "Where?"))
    with pytest.raises(openai.NotFoundError):
        create(model="nothing", messages=shown(b"", "Where?"))


def test_a_picture_that_cannot_be_read_is_said(chat: openai.OpenAI) -> None:
    broken = shown(b"")
    broken[0]["content"][0]["image_url"]["url"] = "data:image/png;base64,not base64"
    with pytest.raises(openai.UnprocessableEntityError, match="no base64") as caught:
        chat.chat.completions.create(model="plates", messages=broken)
    assert (caught.value.type, caught.value.code) == ("invalid_request_error", "InputError")


def test_a_model_that_fails_is_an_error_with_and_without_a_stream(
    chat: openai.OpenAI, part: Part
) -> None:
    messages = shown(part(106, "stain"), "Nothing in the script answers this.")
    with pytest.raises(openai.InternalServerError) as caught:
        chat.chat.completions.create(model="plates", messages=messages)
    assert caught.value.code == "ChatError"
    stream = chat.chat.completions.create(model="plates", messages=messages, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    with pytest.raises(openai.APIError, match="script"):
        list(stream)


def test_the_token_is_the_key(opened: Callable[..., TestClient]) -> None:
    def client(key: str) -> openai.OpenAI:
        base = "http://localhost:8000/v1"
        return openai.OpenAI(api_key=key, base_url=base, http_client=closed, max_retries=0)

    closed = opened(token=TOKEN)
    assert client(TOKEN).models.list().data == []
    with pytest.raises(openai.AuthenticationError, match="wants its token"):
        client("wrong").models.list()
    with pytest.raises(openai.AuthenticationError):
        client("wrong").chat.completions.create(model="plates", messages=shown(b""))


def test_an_answer_arrives_in_pieces(talking: TestClient, part: Part) -> None:
    files = {"files": ("a.png", part(105, "stain"))}
    job = talking.post("/v1/inspections?wait=30", data={"line": "plates"}, files=files).json()
    at = f"/v1/inspections/{job['items'][0]['inspection']}/messages"
    said = talking.post(at, json={"question": "Where is it?"})
    assert said.headers["content-type"].startswith("text/event-stream")
    events = [block.split("\n") for block in said.text.strip().split("\n\n")]
    assert {event for event, _ in events[:-1]} == {"event: piece"}
    text = "".join(json.loads(data.removeprefix("data: "))["text"] for _, data in events[:-1])
    assert text == "At the <b>top</b>."
    assert events[-1] == ["event: done", "data: {}"]
    unknown = talking.post(at, json={"question": "What else?"})
    assert "event: failed" in unknown.text
    assert talking.get(at).json()[-1]["fault"]


def test_who_goes_away_ends_the_work() -> None:
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                time.sleep(0.005)
                yield 1
        finally:
            closed.append(True)

    async def leave() -> None:
        pieces = Streams().pieces(endless())
        assert await anext(pieces) == 1
        await pieces.aclose()  # type: ignore[attr-defined]
        for _ in range(200):
            if closed:
                return
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert closed == [True]


def test_errors_of_a_stream_arrive_and_threads_are_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "AT_ONCE", 1)

    async def collect(waiting: Streams) -> list[str]:
        gate = threading.Event()

        def failing() -> Iterator[str]:
            yield "one"
            assert gate.wait(10)
            raise ChatError("No answer.")

        pieces = waiting.pieces(failing())
        found = [await anext(pieces)]
        with pytest.raises(ServiceError):
            await waiting.call(lambda: None)
        gate.set()
        with pytest.raises(ChatError, match="No answer"):
            await anext(pieces)
        return found

    async def twice() -> list[list[str]]:
        waiting = Streams()
        return [await collect(waiting), await collect(waiting)]

    assert asyncio.run(twice()) == [["one"], ["one"]]
