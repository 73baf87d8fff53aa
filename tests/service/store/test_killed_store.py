"""Whatever was acknowledged before a kill -9 is there, whole and once."""

from __future__ import annotations

import itertools
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, select

from blemish.service.store.database import Database
from blemish.service.store.files import Files
from blemish.service.store.tables import Inspection, Job, Line, Version

WRITER = """
import itertools, os, sys
from pathlib import Path
from blemish.service.store.database import Database
from blemish.service.store.files import Files
from blemish.service.store.tables import Inspection, Item, Job

url, folder, line, version = sys.argv[1:]
database, files = Database(url), Files(Path(folder))
facts = dict(line_id=line, version_id=version)
for number in itertools.count():
    names = [files.put(os.urandom(20_000)) for _ in range(3)]
    items = [Item(position=i, name="x", sha256=name) for i, name in enumerate(names)]
    with database.session() as session:
        job = Job(**facts, items=items)
        session.add(job)
    print("accepted", job.id, *names, flush=True)
    for item in items:
        with database.session() as session:
            session.add(item)
            item.state = "done"
            found = Inspection(**facts, item_id=item.id, name="x", sha256=item.sha256,
                               verdict="normal", decided_by="calibration")
            session.add(found)
        print("inspected", found.id, item.id, flush=True)
"""


def told_until_killed(arguments: list[str], random_: random.Random) -> list[list[str]]:
    """What a writer acknowledged that was killed at a random moment under way."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        hangs = threading.Timer(60, writer.kill)
        hangs.start()
        told = list(itertools.islice(writer.stdout, random_.randint(5, 12)))
        time.sleep(random_.uniform(0, 0.05))
        writer.kill()
        hangs.cancel()
        told += writer.stdout.readlines()
    # Where Python does not buffer, the kill may come in the middle of the last line.
    return [line.split() for line in told if line.endswith("\n")]


def test_nothing_acknowledged_is_lost_or_doubled(
    database: Database,
    address: URL,
    tmp_path: Path,
    line: Callable[[Database], tuple[Line, Version]],
) -> None:
    files = Files(tmp_path / "files")
    of, version = line(database)
    arguments = [address.render_as_string(False), str(files.folder), of.id, version.id]
    random_ = random.Random(7)
    told = [w for _ in range(2) for w in told_until_killed(arguments, random_)]
    accepted = {words[1]: words[2:] for words in told if words[0] == "accepted"}
    inspected = {words[1]: words[2] for words in told if words[0] == "inspected"}
    assert len(accepted) >= 4
    assert len(inspected) >= 6

    with database.reading() as session:
        jobs = {job.id: [item.sha256 for item in job.items] for job in session.scalars(select(Job))}
        found = {each.id: each.item for each in session.scalars(select(Inspection))}
        assert all(item.state == "done" for item in found.values())
        items = [item.id for item in found.values()]
    assert all(len(names) == 3 for names in jobs.values())
    assert accepted.items() <= jobs.items()
    assert inspected.items() <= {id_: item.id for id_, item in found.items()}.items()
    assert len(items) == len(set(items))
    for names in jobs.values():
        for name in names:
            assert len(files.read(name)) == 20_000
    if address.database and address.get_backend_name() == "sqlite":
        raw = sqlite3.connect(address.database)
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        raw.close()
