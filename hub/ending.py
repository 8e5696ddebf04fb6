"""Ending tasks for certain."""

import asyncio

_AGAIN_S = 0.5


async def end(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks until they have ended, however often it takes; what they raised is theirs.

    A library may swallow a cancellation: `asyncio.wait_for` does before Python 3.12, when what it waits for
    ends at the same moment. Whoever then waited for the task would wait for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that asyncio doesn't complain that nobody looked
