"""What GPT-4V for generic anomaly detection (arXiv 2311.02782) asks, for each of its nine tasks.

The wordings are data (vqa.json), each with the figures that print it; those are kept word for
word, since they are a parameter of the method, and a slip of the print that was set right has a
"note". The document does not show every task with every prompt; what is missing is written after
its scheme, has no figure and says so in its "source". It shows one reference at most and one
picture or pair of frames to judge; for more, only the counting words change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from blemish.classes import named
from blemish.errors import OptionError, nearest
from blemish.prompts.answers import object_schema
from blemish.prompts.standards import checked

Task = Literal[
    "industrial",
    "industrial-localisation",
    "point-cloud",
    "logical",
    "medical",
    "medical-localisation",
    "pedestrian",
    "traffic",
    "time-series",
]
Prompt = Literal["naive", "class", "expertise"]
TASKS: tuple[str, ...] = get_args(Task)
PROMPTS: tuple[str, ...] = get_args(Prompt)
SETTINGS = ("zero-shot", "one-shot")
FollowUp = Literal["where", "rule", "count", "verdict"]

LONGEST = 200
"""Characters of one auxiliary value or one earlier finding."""
_ORDINALS = (
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth",
    "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
)  # fmt: skip
_NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_MARKS = dict.fromkeys(map(ord, '"“”„‟«»＂`'), "'")


@cache
def _data() -> Mapping[str, Any]:
    return dict(json.loads(files("blemish.prompts").joinpath("vqa.json").read_text("utf-8")))


def version() -> int:
    """Changes whenever a wording does."""
    return int(_data()["version"])


def wordings() -> list[tuple[str, str, str, tuple[int, ...]]]:
    """Every task, setting and prompt, and the document's figures that print it; () for ours."""
    return [
        (task, setting, prompt, tuple(_data()["tasks"][task][setting][prompt]["figures"]))
        for task in TASKS
        for setting in SETTINGS
        for prompt in PROMPTS
    ]


def question(
    task: str,
    prompt: str,
    *,
    class_name: str = "object",
    standards: str = "",
    references: int = 0,
    views: int = 1,
    auxiliary: Mapping[str, str] | None = None,
    feedback: Sequence[tuple[str, bool]] = (),
) -> str:
    """The text that goes with the pictures, in this order: references, views, marked picture.

    Args:
        task: one of TASKS.
        prompt: "naive", "class" (names the class) or "expertise" (gives the standards too).
        class_name: what the part is called, such as "metal nut".
        standards: what normal looks like; left out by the other prompts.
        references: pictures of normal parts; with any, it is the one-shot setting.
        views: pictures to judge; one where regions are marked.
        auxiliary: what else is known, by name and with its unit; quoted as data.
        feedback: earlier findings on such parts in words, and whether a person confirmed them;
            of the same words, the last counts.

    Raises:
        OptionError: an unknown task or prompt; standards that are empty or contradict each other;
            several views of a task with marks; a text in auxiliary or feedback that is too long.

    >>> question("industrial", "class", class_name="metal_nut")[:57]
    'Please determine whether the image given about the metal '
    """
    for what, came, known in (("task", task, TASKS), ("prompt", prompt, PROMPTS)):
        if came not in known:
            raise OptionError(f"There is no {what} called '{came}'. {nearest(came, known)}")
    if views < 1 or references < 0 or (views > 1 and task.endswith("localisation")):
        raise OptionError(
            f"The task {task} was to show {references} references and {views} views; expected at "
            "least 0 references, and 1 view where regions are marked, else at least 1."
        )
    wording = _data()["tasks"][task]
    text = wording["one-shot" if references else "zero-shot"][prompt]["text"]
    words = checked(standards) if prompt == "expertise" else ""
    slots = _names(class_name, views) | _counted(wording["thing"], references, views)
    said = [text.format(standards=words, **slots)]
    return " ".join([*said, *_known(auxiliary or {}), *_told(feedback)])


def as_json(asked: str) -> str:
    """A question that asks for its answer in the form of `schema`."""
    return f"{asked} {_data()['additions']['json']}"


def follow_up(kind: FollowUp, *, marked: bool = False) -> str:
    """A further question.

    Args:
        kind: what is missing: "where", the "rule" that is broken, a second "count", a "verdict".
        marked: the picture has numbered marks to name a place by.

    >>> follow_up("where", marked=True)[-45:]
    'Name the number of each mark that it lies in.'
    """
    if kind not in get_args(FollowUp):
        raise OptionError(
            f"There is no further question '{kind}'. {nearest(kind, get_args(FollowUp))}"
        )
    return str(_data()["follow ups"]["where marked" if kind == "where" and marked else kind])


def schema() -> dict[str, Any]:
    """JSON schema of the answer "json"."""
    words = {"type": "string"}
    region = {"type": ["integer", "null"], "minimum": 1}
    finding = object_schema({"what": words, "where": words, "region": region})
    return object_schema(
        {
            "verdict": {"type": "string", "enum": ["normal", "anomalous", "unsure"]},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "findings": {"type": "array", "items": finding},
        }
    )


def _names(class_name: str, views: int) -> dict[str, str]:
    """The words for the part that a wording may ask for."""
    name = " ".join(class_name.replace("_", " ").split()) or "object"
    # "The first image of head CT", "this head CT image".
    subject = name.removesuffix(" image") or name
    return {
        "name": name,
        "plural": named(name).plural,
        "subject": subject,
        "this": f"this {name}" if views == 1 else f"these images of {subject}",
    }


def _counted(thing: str, references: int, views: int) -> dict[str, str]:
    """The words that say which picture is which, and the forms of verbs that go with them."""
    many = views > 1
    begin, end = references + 1, references + views
    which = _ordinal(begin)
    if many:
        joined = "and" if views == 2 else "to"
        which = f"{which} {joined} {_ordinal(end)}"
    judged = f"the {which} {thing}{'s' * many}"
    first = "The first " if references < 2 else f"The first {_number(references)} "
    return {
        "thing": thing,
        "things": f"{thing}{'s' * many}",
        "contains": "contain" if many else "contains",
        "First": f"{first}{thing}{'s' * (references > 1)}",
        "are": "are" if references > 1 else "is",
        "meet": "meet" if references > 1 else "meets",
        "judged": judged,
        "Judged": judged[0].upper() + judged[1:],
        "Marked": f"The {_ordinal(end + 1)} {thing}",
    }


def _ordinal(number: int) -> str:
    if number < len(_ORDINALS):
        return _ORDINALS[number]
    ends = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends}"


def _number(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def _known(auxiliary: Mapping[str, str]) -> list[str]:
    """The sentence with the auxiliary data; none where there are none."""
    says = _data()["additions"]
    pairs = [
        says["pair"].format(name=_quotable(name), value=_quotable(value))
        for name, value in auxiliary.items()
    ]
    return [says["auxiliary"].format(pairs="; ".join(pairs))] if pairs else []


def _told(feedback: Sequence[tuple[str, bool]]) -> list[str]:
    """The sentences about earlier findings; none where there are none."""
    judged: dict[str, bool] = {}
    for words, confirmed in feedback:
        words = _quotable(words)
        judged.pop(words, None)
        judged[words] = confirmed
    says = _data()["additions"]
    said = [says["feedback"]] if judged else []
    for kind in ("confirmed", "rejected"):
        of_kind = [
            f'"{w}"' for w, confirmed in judged.items() if confirmed == (kind == "confirmed")
        ]
        if of_kind:
            said.append(says[kind].format(findings="; ".join(of_kind)))
    return said


def _quotable(text: str) -> str:
    """A text that cannot leave its quotation marks or its line."""
    plain = "".join(sign if sign.isprintable() else " " for sign in str(text)).translate(_MARKS)
    plain = " ".join(plain.split())
    if not plain or len(plain) > LONGEST:
        raise OptionError(
            f"A text to quote in the prompt has {len(plain)} characters: '{plain[:40]}'. "
            f"Auxiliary data and feedback take 1 to {LONGEST} each, such as 'torque': '4.1 Nm'."
        )
    return plain
