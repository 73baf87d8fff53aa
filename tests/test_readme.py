"""What the README and the other pages tell a person to type exists and runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from blemish.synthesis.procedural import write_set

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLEMISH = str(Path(sys.executable).parent / "blemish")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    return [body for language, body in FENCE.findall(text) if language in languages]


def commands(text: str) -> list[list[str]]:
    """The command lines of a page's shell blocks, as words, without prompts and comments.

    >>> commands("```sh\\n$ blemish inspect a.png \\\\\\n  --json  # why\\n```")
    [['blemish', 'inspect', 'a.png', '--json']]
    """
    body = "\n".join(blocks(text, "sh", "console", "bash")).replace("\\\n", " ")
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in body.splitlines()]
    return [words for words in lines if words and words[0] in CHECKS]


@cache
def help_of(*command: str) -> str:
    """The help text of a blemish command; empty where there is no such command."""
    wide = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    run = subprocess.run([BLEMISH, *command, "--help"], capture_output=True, text=True, env=wide)
    return run.stdout if run.returncode == 0 else ""


def check_blemish(words: list[str]) -> str:
    """What is wrong with a blemish command line, by its help; empty where nothing is."""
    options = [word.split("=")[0] for word in words if word.startswith("-")]
    command = [word for word in words[1:2] if not word.startswith("-")]
    if command and words[2:3] and re.search(r"\[ARGS\]\.\.\.", help_of(*command)):
        command = words[1:3]
    text = help_of(*command)
    anywhere = text + ("--debug" if "--debug" in help_of() else "")
    unknown = [o for o in options if not re.search(rf"(?<![\w-]){re.escape(o)}(?![\w-])", anywhere)]
    return f"no command {command}" if not text else f"no option {unknown}" if unknown else ""


def check_make(words: list[str]) -> str:
    """Targets must be in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [word for word in words[1:] if "=" not in word]
    missing = [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)]
    return f"no target {missing}" if missing else ""


def check_script(words: list[str]) -> str:
    """A script must be a file, and know its options."""
    script = ROOT / next(word for word in words if re.match(r"(scripts|benchmarks)/", word))
    if not script.is_file():
        return f"no file {script.name}"
    text = script.read_text(encoding="utf-8")
    unknown = [o for o in words if o.startswith("--") and o.split("=")[0] not in text]
    return f"no option {unknown}" if unknown else ""


CHECKS = {
    "blemish": check_blemish,
    "make": check_make,
    "python": check_script,
    ".venv/bin/python": check_script,
    ".venv/bin/blemish": check_blemish,
    "scripts/check": check_script,
    "scripts/with-postgres": check_script,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    found = commands(page.read_text(encoding="utf-8"))
    wrong = {shlex.join(words): CHECKS[words[0]](words) for words in found}
    assert {line: why for line, why in wrong.items() if why} == {}


@pytest.fixture
def here(parts: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the README's reader: parts, a shift's pictures and a data set."""
    shutil.copytree(parts / "good_parts", parts / "shift_12")
    shutil.copy(parts / "part.png", parts / "shift_12")
    write_set(parts / "tiles", "tiled", train=2, good=2, anomalous=2, size=(96, 96))
    monkeypatch.chdir(parts)
    return parts


def test_the_python_of_the_readme_runs(here: Path) -> None:
    first, *others = blocks(README, "python")
    assert len(first.strip().splitlines()) == 5
    for block in (first, *others):
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_commands_of_the_readme_run(here: Path) -> None:
    lines = [words for words in commands(README) if words[0] == "blemish"]
    assert lines
    for words in lines:
        run = subprocess.run([BLEMISH, *words[1:]], capture_output=True, text=True)
        # With --exit-code, 1 says that a part is anomalous.
        assert run.returncode in ((0, 1) if "--exit-code" in words else (0,)), run.stderr


@pytest.mark.parametrize(
    "line",
    [
        "blemish inspct part.png",
        "blemish inspect part.png --nrmal good_parts",
        "make dmo",
        "python scripts/no_such_script.py",
        "python scripts/bench_startup.py --rns 3",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    words = shlex.split(line)
    assert CHECKS[words[0]](words)
