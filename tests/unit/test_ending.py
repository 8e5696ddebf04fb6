import asyncio

from hub.ending import end


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same():
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(60)

    async def failing() -> None:
        raise RuntimeError

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failing())]
    await asyncio.sleep(0)
    await end(*tasks)
    assert swallowed == 2
    assert all(task.done() for task in tasks)
