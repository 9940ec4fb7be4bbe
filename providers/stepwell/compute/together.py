"""Several calls at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """Return what all of *calls* return. If some fail, the first one's error is raised once all have ended.

    ``asyncio.gather`` raises at once, and what is still under way then writes into what the caller clears away.
    """
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found
