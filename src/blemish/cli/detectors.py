"""`blemish detectors`: what can inspect."""

from __future__ import annotations


def detectors() -> None:
    """List the detectors: what each needs, its default encoder, its weights' licence."""
    from blemish import registry
    from blemish.cli import screen

    table = screen.table("name", "needs", "encoder", "licence", last="what it does")
    for entry in registry.detectors().values():
        encoder = entry.parts.get("encoder", "")
        table.add_row(entry.name, entry.needs, encoder, entry.licence, entry.summary)
    screen.console().print(table)
