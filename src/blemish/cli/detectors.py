"""`blemish detectors`: what can inspect."""

from __future__ import annotations


def detectors() -> None:
    """List the detectors: what each needs, its default encoder, its weights' licence."""
    from rich.table import Table

    from blemish import registry
    from blemish.cli import screen

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "needs", "encoder", "licence"):
        table.add_column(column, no_wrap=True)
    table.add_column("what it does")
    for entry in registry.detectors().values():
        encoder = entry.parts.get("encoder", "")
        table.add_row(entry.name, entry.needs, encoder, entry.licence, entry.summary)
    screen.console().print(table)
