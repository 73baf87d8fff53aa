from __future__ import annotations

import threading
import time

import pytest

from blemish.errors import StoreBusyError
from blemish.service.store.turns import Turns


def test_turns_come_in_the_order_of_arrival_one_at_a_time() -> None:
    turns, served, inside = Turns(), [], []

    def work(number: int) -> None:
        with turns.taken(10):
            inside.append(number)
            time.sleep(0.001)
            assert inside == [number]
            served.append(inside.pop())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    with turns.taken(10):
        for number, thread in enumerate(threads, 2):
            thread.start()
            while len(turns._line) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert served == list(range(20))


def test_who_goes_away_keeps_nobody_waiting() -> None:
    turns = Turns()
    with turns.taken(1):
        for _ in range(2):
            with pytest.raises(StoreBusyError), turns.taken(0.02):
                pytest.fail("two hold it")
    with pytest.raises(ZeroDivisionError), turns.taken(0.02):
        _ = 1 / 0
    with turns.taken(0.02):
        pass
