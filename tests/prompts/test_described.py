"""Descriptions out of what models really write, and nothing of what stands around them."""

from __future__ import annotations

import pytest

from blemish.prompts._described import read_descriptors, read_prompts
from blemish.prompts.answers import Unreadable

ASKED = (
    "How to identify an abnormal bottle in an image? State the description beginning with: An "
    "abnormal image of bottle."
)
IT = "An abnormal image of bottle"

# Each reply with the prompts that are in it.
REPLIES: dict[str, tuple[str, list[str]]] = {
    "numbers, bullets, bold, quotes and chatter": (
        f"Sure! Here are 20 descriptions of an abnormal bottle:\n\n1. **{IT}** with a crack.\n"
        f'2) "An abnormal image of a bottle showing a chipped rim."\n- Broken glass\n'
        "* **Colour**: uneven patches.\n• Look for any signs of bubbles in the glass.\n\n"
        "I hope this helps! Let me know if you need more.",
        [
            f"{IT} with a crack",
            "An abnormal image of a bottle showing a chipped rim",
            f"{IT}: broken glass",
            f"{IT}: colour: uneven patches",
            f"{IT}: bubbles in the glass",
        ],
    ),
    "one a line": (
        f"Certainly. The descriptions follow.\n{IT} with a crack\n{IT} with dirt\nThat is all.",
        [f"{IT} with a crack", f"{IT} with dirt"],
    ),
    "one paragraph": (
        "To identify an abnormal bottle in an image, look at its shape first. "
        f"{IT} may show a broken neck. {IT} can have dirt inside. It is important to compare.",
        [f"{IT} may show a broken neck", f"{IT} can have dirt inside"],
    ),
    "one paragraph that does not begin as asked": (
        "There are several ways to tell. The neck is cracked. Dirt lies inside! You should check.",
        [f"{IT}: the neck is cracked", f"{IT}: dirt lies inside"],
    ),
    "numbers in one line": (
        f"1. {IT} with a crack. 2. {IT} with dirt.",
        [f"{IT} with a crack", f"{IT} with dirt"],
    ),
    "broken lines": (
        f"- {IT} with a crack\n  along the neck\n- {IT} with dirt",
        [f"{IT} with a crack along the neck", f"{IT} with dirt"],
    ),
    "both sides below headings": (
        "### Normal bottle:\n- smooth rim\n\n### Abnormal bottle:\n- chipped rim",
        [f"{IT}: chipped rim"],
    ),
    "sentences of the other side": (
        f"- A normal image of bottle has a smooth rim\n- {IT} has a chip\n- Normally it is clear",
        [f"{IT} has a chip"],
    ),
    "a table": (
        f"Here:\n| No. | Description |\n|---|:-:|\n| 1 | {IT} with dirt |",
        [f"{IT} with dirt"],
    ),
    "a table of both sides": (
        "| Normal | Abnormal |\n|:--|:--|\n| a smooth, whole rim | a chip |",
        [f"{IT}: a chip"],
    ),
    "JSON": (
        f'```json\n{{"abnormal": ["{IT} with dirt"], "normal": ["A smooth rim"]}}\n```',
        [f"{IT} with dirt"],
    ),
    "thoughts": (f"<think>A bottle...</think>{IT} with dirt.", [f"{IT} with dirt"]),
    "an echo": (f"{ASKED}\n\n{IT} shows a crack.", [f"{IT} shows a crack"]),
    "another beginning": (
        "An image of an abnormal bottle with dirt.\nThe abnormal picture of a bottle with a chip.",
        [f"{IT} with dirt", "An abnormal image of a bottle with a chip"],
    ),
    "duplicates": (f"- {IT} with dirt\n- {IT.upper()} with dirt.\n- {IT}", [f"{IT} with dirt"]),
    "advice": (
        "1. Compare the bottle with a good one.\n2. A cracked neck\n3. Make sure the light is even",
        [f"{IT}: a cracked neck"],
    ),
}
USELESS = {
    "": "empty",
    "I'm sorry, but I can't help with that.": "refused",
    "<think>What is a bottle?": "thought aloud",
    "以下是描述:\n- 瓶口有裂纹": "no description",
    "- Ein Riss in der Flasche und am Hals\n- Eine Delle in dem Boden": "not in English",
    f"{IT}.": "no description",
    "Sure! Here are 20 descriptions:": "no description",
    ASKED: "no description",
    "?!": "no description",
}


def of(text: str, *, consistent: bool = True, ended: str = "stop") -> list[str]:
    return list(
        read_prompts(text, "abnormal", "bottle", asked=ASKED, ended=ended, consistent=consistent)
    )


@pytest.mark.parametrize("kind", REPLIES)
def test_a_reply_gives_its_descriptions_and_nothing_around_them(kind: str) -> None:
    text, prompts = REPLIES[kind]
    assert of(text) == prompts


def test_without_consistency_a_description_stays_as_it_was_said() -> None:
    assert of("- Chipped rim\n- With dirt inside.", consistent=False) == [
        "Chipped rim",
        "With dirt inside",
    ]
    assert of("- Chipped rim\n- With dirt inside.") == [
        f"{IT}: chipped rim",
        f"{IT} with dirt inside",
    ]


@pytest.mark.parametrize("text", USELESS)
def test_a_reply_without_a_description_says_why(text: str) -> None:
    with pytest.raises(Unreadable, match=USELESS[text]):
        of(text)
    with pytest.raises(Unreadable, match="model refused"):
        of(f"{IT} with dirt", ended="refused")


def test_the_last_line_of_a_reply_that_was_cut_off_is_dropped() -> None:
    lines = [f"- {IT} with a crack", f"- {IT} with dirt on its low"]
    assert of("\n".join(lines), ended="length") == [f"{IT} with a crack"]
    assert len(of("\n".join(lines))) == 2
    assert of(f"{IT} has a crack. {IT} has di", ended="length") == [f"{IT} has a crack"]
    with pytest.raises(Unreadable):
        of(f"{IT} has di", ended="length")


def test_a_long_description_is_cut_where_a_clause_ends() -> None:
    long = f"{IT} with " + ", ".join(f"a crack number {i} in the glass" for i in range(20))
    (prompt,) = of(long)
    assert len(prompt.split()) <= 40
    assert long.startswith(f"{prompt},")
    with pytest.raises(Unreadable):
        of(f"{IT} " + "very " * 50 + "dirty")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            " Cracks\n- Dents in the *metal*\n- Dents in the metal.",
            ["cracks", "dents in the metal"],
        ),
        ("Here are some:\n\n- **Chips**: missing glass\n\nThese help.", ["chips: missing glass"]),
        ("1. Cracked neck\n2. LED is off\nNote: more exist.", ["cracked neck", "LED is off"]),
    ],
)
def test_descriptors_are_points_and_the_first_needs_no_mark(text: str, expected: list[str]) -> None:
    assert list(read_descriptors(text, asked="", ended="stop")) == expected
