from __future__ import annotations

import asyncio

from server.engine_probe import EngineProbe


class Engine:
    """Answers while `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()

    async def is_sleeping(self) -> bool:
        await self.answers.wait()
        return False


async def test_an_engine_that_answers_is_not_hung() -> None:
    probe = EngineProbe(Engine(), silence_limit=0.0)
    for _ in range(3):
        assert not probe.hung(waiting_requests=5)
        await asyncio.sleep(0)


async def test_a_silent_engine_is_hung_while_requests_wait_and_recovers() -> None:
    engine = Engine()
    engine.answers.clear()
    probe = EngineProbe(engine, silence_limit=0.0)
    assert not probe.hung(waiting_requests=1), "it has just been asked"
    await asyncio.sleep(0.001)
    assert probe.hung(waiting_requests=1)
    assert not probe.hung(waiting_requests=0), "nobody waits for it"
    engine.answers.set()
    await asyncio.sleep(0.001)
    assert not probe.hung(waiting_requests=1)


async def test_a_short_silence_is_no_hang() -> None:
    engine = Engine()
    engine.answers.clear()
    probe = EngineProbe(engine, silence_limit=3600.0)
    assert not probe.hung(waiting_requests=1)
    await asyncio.sleep(0.001)
    assert not probe.hung(waiting_requests=1)
