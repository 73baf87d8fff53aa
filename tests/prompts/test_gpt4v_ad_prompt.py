"""The reader of GPT-4V-AD's answers: each rule of its table, and that nothing is guessed."""

from __future__ import annotations

import json

import pytest

from blemish.errors import OptionError
from blemish.prompts.gpt4v_ad import Answer, data, parse, question, schema, wording

REGIONS = range(1, 58)
ASKED = question("hazelnut")
SECTION_3_2 = (
    "This is an image of hazelnut. The image has different region divisions, each distinguished "
    "by white edges and each with a unique numerical identifier within the region, starting from "
    "1. Each region may exhibit anomalies of unknown types, and anomaly scores range from 0 to 1, "
    "with higher values indicating a higher probability of an anomaly. Please output the anomaly "
    "scores for the regions with anomalies. Provide the answer in the following format: "
    '"region 1: 0.9; region 3: 0.7.". Ignore the region that does not contain anomalies.'
)


def read(text: str, ended: str = "stop") -> Answer:
    return parse(text, REGIONS, ended=ended, asked=ASKED)


def test_the_document_is_asked_word_for_word() -> None:
    assert question("hazelnut") == SECTION_3_2
    boxes = question("hazelnut", asks="boxes")
    assert boxes.startswith("This is an image of a hazelnut. The image contains multiple regions")
    assert 'format: "region 1: 0.5, 0.5, 0.2, 0.2; region 3: 0.7, 0.3, 0.1, 0.2." Please' in boxes


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("metal_nut", "a metal nut"),
        ("orange  peel\n", "an orange peel"),
        ("unit", "a unit"),
        ("", "an object"),
        ("{example} %s {0}", "a {example} %s {0}"),
    ],
)
def test_the_class_goes_into_the_question(name: str, spoken: str) -> None:
    assert question(name, "json").startswith(f"This is an image of {spoken}. ")


@pytest.mark.parametrize("name", list(data()["wordings"]))
@pytest.mark.parametrize("asks", ["regions", "image and regions", "boxes"])
def test_every_wording_is_whole(name: str, asks: str) -> None:
    if asks not in data()["wordings"][name]:
        with pytest.raises(OptionError, match="does not ask for boxes"):
            wording(name, "boxes")
        return
    text = question("metal_nut", name, asks)  # type: ignore[arg-type]
    assert "metal nut" in text
    assert "{" not in text
    assert wording(name, asks)["example"] in text  # type: ignore[arg-type]
    assert ("image" in asks) == ("image anomaly score:" in text or "image_score" in text)


def test_an_unknown_wording_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'document'"):
        wording("documnt")


def test_further_pictures_are_told_in_their_order() -> None:
    text = question("nut", normals=2, anomalous=["top left", ""], heat=True, standards="Round.")
    told = (
        "Images 1 to 2 each show a normal nut",
        "Image 3 shows an anomalous nut, as an example; the anomaly lies at: top left.",
        "Image 4 shows an anomalous nut, as an example.",
        "Image 6 is a heat map",
        "What a normal nut looks like: Round.",
        "Image 5 is the one to judge",
        "This is an image of nut.",
    )
    places = [text.index(part) for part in told]
    assert places == sorted(places)
    assert question("nut", normals=1).startswith("Image 1 shows a normal nut")


def test_the_schema_fits_what_is_read() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    answer = {"regions": [{"number": 4, "score": 0.9}]}
    jsonschema.validate(answer, schema("regions"))
    jsonschema.validate({**answer, "image_score": 0.9}, schema("image and regions"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**answer, "image_score": 0.9}, schema("regions"))
    assert read(json.dumps({**answer, "image_score": 0.8})) == Answer({4: 0.9}, 0.8)


PLAIN = [
    ("region 4: 0.9; region 7: 0.25.", {4: 0.9, 7: 0.25}),
    ("Region 4: 1; Region 7: 0", {4: 1.0, 7: 0.0}),
    ("region 4: .9, region 7: 0.25", {4: 0.9, 7: 0.25}),
    ("**Region 4:** 0.9\n\n- **Region 7**: *0.25*", {4: 0.9, 7: 0.25}),
    ("1. `region 4`: 0.9\n2. `region 7`: 0.25", {4: 0.9, 7: 0.25}),
    ("## Region 4\n- Anomaly score: 0.9\n## Region 7\n- Score: 0.25", {4: 0.9, 7: 0.25}),
    ("Region 4 (top left): 0.9\nRegion #7 = 0.25", {4: 0.9, 7: 0.25}),
    ("Region 4 has an anomaly score of 0.9. It has a crack (region 4).", {4: 0.9}),
    ("region 4: 0.9; region 4: 0.9", {4: 0.9}),
    ("region 4 - 0.9; region 7 - 0.25", {4: 0.9, 7: 0.25}),
    ('"region 4: 0.9; region 7: 0.25."', {4: 0.9, 7: 0.25}),
    ("区域4：0.9；区域7：0.25。", {4: 0.9, 7: 0.25}),
    ("区域４的异常分数为０．９", {4: 0.9}),
    ("Bereich 4: 0.9; Region Nr. 7: 0.25", {4: 0.9, 7: 0.25}),
    ("| Region | Anomaly score | Why |\n|---|:-:|---|\n| 4 | **0.9** | dark |\n| 7 | 0.25 | |",
     {4: 0.9, 7: 0.25}),
    ("| Why | Region No. | Score |\n|-|-|-|\n| a crack | Region 4 | 0.9 |", {4: 0.9}),
    ("| Region 4 | 0.9 |\n| Region 7 | 0.25 |", {4: 0.9, 7: 0.25}),
    ("Answer: region 4: 0.9", {4: 0.9}),
    ("<think>region 9: 0.1? No.</think>region 4: 0.9", {4: 0.9}),
    ("I looked closely. Region 4 has a crack.\nregion 4: 0.9", {4: 0.9}),
    ('{"regions": [{"number": 4, "score": 0.9}, {"number": 7, "score": 0.25}]}',
     {4: 0.9, 7: 0.25}),
    ('{"regions": {"4": 0.9, "region 7": 0.25}}', {4: 0.9, 7: 0.25}),
    ('{"region 4": 0.9, "Region 7": 0.25}', {4: 0.9, 7: 0.25}),
    ('[{"region": 4, "anomaly_score": 0.9, "reason": "dark"}]', {4: 0.9}),
    ('{"regions": [{"number": 4, "score": 0.9, "why": "like a ] or }"}]}', {4: 0.9}),
    ('{"region": 4, "score": 0.9}\n{"region": 7, "score": 0.25}', {4: 0.9, 7: 0.25}),
    ('Here is the JSON:\n```json\n{"regions": [{"number": 4, "score": 0.9}]}\n```', {4: 0.9}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "scores"), PLAIN)
def test_what_is_clear_is_read(text: str, scores: dict[int, float]) -> None:
    assert read(text) == Answer(scores)


REPAIRED = [
    ("region 4: 90%", {4: 0.9}, "percent: 90%"),
    ("region 4: 90 %; region 7: 2,5 %", {4: 0.9, 7: 0.025}, "percent: 90 %"),
    ("region 4: 90\x1f%", {4: 0.9}, "percent: 90\x1f%"),
    ("Region 4: 0,9; Region 7: 0,25.", {4: 0.9, 7: 0.25}, "decimal comma: 0,9"),
    ("regions 3-5: 0.8", {3: 0.8, 4: 0.8, 5: 0.8}, "range: 3-5"),
    ("Regionen 3 bis 5: 0.8", {3: 0.8, 4: 0.8, 5: 0.8}, "range: 3 bis 5"),
    ("regions 3, 5 and 7 to 8: 0.8", {3: 0.8, 5: 0.8, 7: 0.8, 8: 0.8}, "range: 3, 5 and 7 to 8"),
    ('{"regions": [{"number": 4, "score": 0.9,},],}', {4: 0.9}, "trailing comma"),
    (json.dumps('{"regions": [{"number": 4, "score": 0.9}]}'), {4: 0.9}, "JSON in a string"),
    (json.dumps(json.dumps({"region 4": 0.9})), {4: 0.9}, "JSON in a string"),
    ('{"regions": [{"number": "3-5", "score": "80%"}]}', {3: 0.8, 4: 0.8, 5: 0.8}, "percent: 80%"),
]


@pytest.mark.parametrize(("text", "scores", "note"), REPAIRED)
def test_what_is_read_leniently_is_noted(text: str, scores: dict[int, float], note: str) -> None:
    answer = read(text)
    assert answer.scores == scores
    assert not answer.problem
    assert note in answer.repaired


NORMAL = [
    "No anomalies.",
    "no anomalies detected",
    "There are no visible anomalies in the image.",
    "**None of the regions** show any anomalies.",
    "None of the regions in the image appear to be anomalous.",
    "All regions appear normal.",
    "The image is free of defects. No anomalies were found in any of the regions.",
    "I do not see any anomalies in the picture.",
    "none",
    "Answer: none.",
    "Es gibt keine Anomalien.",
    "Keine Auffälligkeiten erkennbar",
    "Alle Bereiche sind unauffällig.",
    "未发现异常。",
    "图像中没有检测到任何异常区域。",
    "所有区域均正常",
    "異常はありません。",
    "Aucune anomalie détectée.",
    '{"regions": []}',
    '```json\n{"regions": [],}\n```',
    '{"regions": {}, "explanation": "No anomalies."}',
    json.dumps('{"regions": []}'),
]


@pytest.mark.parametrize("text", NORMAL)
def test_saying_that_nothing_is_anomalous_is_an_answer(text: str) -> None:
    answer = read(text)
    assert (answer.scores, answer.image_score, answer.problem) == ({}, None, "")


def test_scores_of_nought_are_an_answer_where_nothing_else_is_said() -> None:
    assert read("Region 4: 0.0; Region 7: 0. No anomalies.") == Answer({4: 0.0, 7: 0.0})


UNPARSED = [
    ("", "empty"),
    (" \n\t", "empty"),
    ("Region 4 has a crack.", "names no region"),
    ("The part looks worn.", "names no region"),
    ("Region 4 (looks normal): 0.9", "names no region"),
    ("normally fine", "names no region"),
    ("Not all regions are normal.", "names no region"),
    ("No anomalies. The top is cracked.", "names no region"),
    ("No anomalies, but the top is cracked.", "names no region"),
    ("No significant anomalies.", "names no region"),
    ("No anomalies in region 3.", "names no region"),
    ("N/A", "names no region"),
    ("0", "names no region"),
    ("yes", "names no region"),
    ("[]", "names no region"),
    ("{}", "names no region"),
    ('{"regions": null}', "expected one list"),
    ('{"regions": [], "note": "a severe crack"}', "names no region"),
    ('{"regions": [], "anomalous": true}', "names no region"),
    ('{"regions": []} But the top is cracked.', "names no region"),
    ('{"regions": [], "anomalies": [{"number": 4, "score": 0.9}]}', "expected one list"),
    ('{"regions": [4, 7]}', "expected a number and score"),
    ('{"regions": [{"number": 4}]}', "no region with its score"),
    ('{"regions": [{"number": 4.5, "score": 0.9}]}', "number of a region"),
    ('{"regions": [{"number": 4, "score": true}]}', "no number from 0 to 1"),
    ('{"regions": [{"number": 4, "score": null}]}', "where a score should be"),
    ('{"regions": [{"number": 4, "score": NaN}]}', "names no region"),
    ('{"regions": [{"number": 4, "score": 1e999}]}', "no number from 0 to 1"),
    ('{"regions": [{"number": 4, "score": 0.9, "score": 0.1}]}', "names no region"),
    ('{"regions": [{"number": 4, "score": 0.9}], "note": "region 7 too"}', "region 7 is named"),
    ('{"regions": [{"number": 4, "score": 0.', "names no region"),
    ("region 4: high", "'high' stands"),
    ("region 4: very likely", "'very likely' stands"),
    ("region 4: 1.2", "outside 0 to 1"),
    ("region 4: 9", "outside 0 to 1"),
    ("region 4: 120%", "outside 0 to 1"),
    ("region 4: -0.2", "outside 0 to 1"),
    ("region 4: - 0.9 or 0.1", "where a score should be"),
    ("region 4: 9/10", "where a score should be"),
    ("region 4: 0.7-0.9", "where a score should be"),
    ("region 4: 0.7 - 0.9", "where a score should be"),
    ("region 4: 0. 9", "where a score should be"),
    ("region 4: nan", "where a score should be"),
    ("region 4: 1e-3", "where a score should be"),
    ("region 99: 0.9", "no region 99"),
    ("region 0: 0.9", "no region 0"),
    ("regions 55-60: 0.9", "no region 58"),
    ("regions 5-3: 0.9", "cannot be"),
    ("regions 1-999999: 0.9", "cannot be"),
    ("region 4: 0.9; region 4: 0.1", "scores 0.9 and 0.1"),
    ('region 4: 0.9 {"regions": [{"number": 4, "score": 0.2}]}', "scores 0.2 and 0.9"),
    ("region 4: 0.9; region 7 is odd too", "region 7 is named"),
    ("region 4: 0.9, 7: 0.8", "where a score should be"),
    ("region 4: 0.2; 7: 0.9", "belongs to no region"),
    ("region 4: 0.2; reg. 7 gets 0.9", "belongs to no region"),
    ("regions 4 and 7: 0.2 and 0.9", "belongs to no region"),
    ("region 4: 0.9. No anomalies.", "says that there are none"),
    ('{"regions": []}\nregion 4: 0.9', "says that there are none"),
    ("image anomaly score: 0.9. No anomalies.", "scores the image 0.9"),
    ("image anomaly score: 0.1; image anomaly score: 0.2", "the image has the scores"),
    ("image anomaly score: 0.1. There is a crack.", "names no region"),
    ("image anomaly score: low", "'low' stands"),
    ("<think>region 4: 0.9", "thought aloud"),
    ("region 4: 0.9 " * 3000, "characters"),
    ("No anomalies?", "names no region"),
    ("Normal: none", "names no region"),
    ("None of the regions: normal", "names no region"),
    ("!normal", "names no region"),
    ("```anomalous\nnone\n```", "names no region"),
    ('{"regions": [], "normal regions": "none"}', "names no region"),
    ("No anomalies.\n| Region | Score | a severe crack |", "names no region"),
    ("region 4: 0. There is a crack at the top.", "scores no region above 0"),
    ("region four: high. region 7: 0.0", "scores no region above 0"),
    ("| Region | Score | Why |\n|-|-|-|\n| 4 | 0 | a crack |", "scores no region above 0"),
    ("region 4: 0.", "as if it were cut off"),
    ("region 4: 00", "where a score should be"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), UNPARSED)
def test_what_can_be_read_in_two_ways_or_none_is_unparsed(text: str, words: str) -> None:
    answer = read(text)
    assert (answer.problem, answer.scores, answer.image_score) == ("unparsed", {}, None)
    assert words in answer.words


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I cannot provide anomaly scores for this image.",
        "As an AI, I do not judge parts.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Je suis désolé, je ne peux pas vous aider.",
        "Lo siento, no puedo ayudar con eso.",
        "Mi dispiace, non posso aiutarti.",
        "抱歉，我无法提供帮助。",
        "申し訳ありませんが、お手伝いできません。",
        "I'm sorry, I can't. No anomalies.",
    ],
)
def test_a_refusal_is_no_answer(text: str) -> None:
    assert read(text).problem == "refused"


def test_the_endpoint_may_say_that_it_refused_or_cut_off() -> None:
    assert read("No anomalies.", "refused").problem == "refused"
    for text in ("region 4: 0.9; region 7: 0.", "No anomalies.", '{"regions": []}'):
        cut = read(text, "length")
        assert cut.problem == "unparsed"
        assert "cut off" in cut.words


def test_an_image_score_is_read_beside_regions_and_alone() -> None:
    both = read("image anomaly score: 0.8; region 4: 0.9; region 7: 0.25.")
    assert both == Answer({4: 0.9, 7: 0.25}, 0.8)
    assert read("Image anomaly score: 0.05. No anomalies.") == Answer({}, 0.05)
    assert read("Overall score: 60%").image_score == 0.6
    assert read("图像异常分数：0.8；区域4：0.9").image_score == 0.8


QUOTED = 'Provide the answer in the following format: "region 1: 0.9; region 3: 0.7.".'


@pytest.mark.parametrize(
    "text",
    [
        "region 1: 0.9; region 3: 0.7.",
        "Region 3: 0.7\nRegion 1: 0.9",
        '{"region 1": 0.9, "region 3": 0.7}',
        "image anomaly score: 0.9; region 1: 0.9; region 3: 0.7.",
        "region 1: 0.9; region 3: 0.7. region 5: 0.8",
        '"region 1: 0.9; region 3: 0.7."',
        QUOTED,
        ASKED,
        ASKED.upper(),
        ASKED[:-30],
        f"user: {ASKED}\nassistant:",
        "Ignore the region that does not contain anomalies.",
    ],
)
def test_the_example_of_the_question_is_never_the_answer(text: str) -> None:
    answer = read(text)
    assert (answer.problem, answer.scores) == ("unparsed", {})


@pytest.mark.parametrize("echo", [ASKED, ASKED.replace(" ", "\n "), QUOTED, QUOTED[30:]])
def test_an_answer_behind_an_echo_is_read(echo: str) -> None:
    assert read(f"{echo} region 5: 0.8").scores == {5: 0.8}
    assert read(f"{ASKED}\n\nNo anomalies.") == Answer()
