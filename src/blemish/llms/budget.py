"""A budget that stops a run before it is exceeded."""

from __future__ import annotations

import threading

from blemish.errors import BudgetError, OptionError

_ROUNDING = 1e-9


class Budget:
    """Money and calls that may be spent, by any number of models and threads together.

    Before a call its worst case is set aside; afterwards what it really cost takes its place. A
    call that fits only if others turn out cheaper than their worst case waits for them.

    Attributes:
        money: at most so much, in the currency of the prices; None for any amount.
        calls: at most so many that an endpoint may charge for; None for any number.
    """

    def __init__(self, money: float | None = None, calls: int | None = None) -> None:
        for name, value in (("money", money), ("calls", calls)):
            number = isinstance(value, int | float) and value >= 0
            if value is not None and not number:
                raise OptionError(f"Budget {name}={value!r} came; expected a number, 0 or more.")
        self.money, self.calls = money, calls
        self._spent, self._made = 0.0, 0
        self._held_money, self._held_calls = 0.0, 0
        self._changed = threading.Condition()

    @property
    def spent(self) -> float:
        """Money that was spent, as far as is known: an answer that got lost counts in full."""
        return self._spent

    @property
    def made(self) -> int:
        """Calls that were charged, or may have been."""
        return self._made

    def reserve(self, most: float) -> None:
        """Set aside one call that costs at most so much, and wait while others may leave room.

        Raises:
            BudgetError: it would not fit even if nothing else were under way.
        """
        with self._changed:
            while not self._fits(most, self._held_money, self._held_calls):
                if not self._fits(most, 0.0, 0):
                    raise BudgetError(self._refusal(most))
                self._changed.wait()
            self._held_money += most
            self._held_calls += 1

    def settle(self, most: float, cost: float | None) -> None:
        """Give back what was set aside, and count what it cost; None for a call not charged."""
        with self._changed:
            self._held_calls -= 1
            # Sums of floats drift; with nothing under way the true value is known.
            self._held_money = self._held_money - most if self._held_calls else 0.0
            if cost is not None:
                self._spent += cost
                self._made += 1
            self._changed.notify_all()

    def _fits(self, most: float, held_money: float, held_calls: int) -> bool:
        money = self._spent + held_money + most
        return (self.money is None or money <= self.money + _ROUNDING) and (
            self.calls is None or self._made + held_calls + 1 <= self.calls
        )

    def _refusal(self, most: float) -> str:
        done = f"{self._made} call{'s' * (self._made != 1)}"
        if self.calls is not None and self._made + 1 > self.calls:
            return f"The budget of {self.calls} calls stops here: {done} made so far. Raise it."
        return (
            f"The budget of {self.money:g} in money stops here: {self._spent:.6g} was spent in "
            f"{done}, and the next one could cost up to {most:.6g}. Raise the budget, ask for a "
            "shorter answer (max_tokens), or send smaller images (image_side)."
        )
