"""Processes of one machine, as if they were on two."""

from __future__ import annotations


async def out_of_reach(*_: object) -> None:
    """In the place of `services.runtime.pipes.reach`: the other end is on another machine."""
