"""Background tasks, none of which may die unnoticed."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Tasks:
    """Named tasks that run until they are stopped; one that ends before is a failure of the whole process."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Run something in the background."""
        self._tasks[name] = asyncio.create_task(work, name=name)

    async def any_ended(self) -> None:
        """Return when a task has ended."""
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)

    async def wait(self, prefix: str, seconds: float) -> bool:
        """Let the tasks of this name prefix end by themselves; return whether they did in this time."""
        chosen = self._chosen(prefix)
        if not chosen:
            return True
        _, pending = await asyncio.wait(chosen, timeout=seconds)
        return not pending

    async def cancel(self, prefix: str = "") -> None:
        """End the tasks of this name prefix, or all."""
        chosen = self._chosen(prefix)
        for task in chosen:
            task.cancel()
        await asyncio.gather(*chosen, return_exceptions=True)

    def report(self) -> None:
        """Log which tasks ended, and why: the failed ones first, since others may have ended because of them."""
        ended = [task for task in self._tasks.values() if task.done()]
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.critical("a part of the operator failed", extra={"part": task.get_name()}, exc_info=error)
        for task in ended:
            if task.cancelled() or task.exception() is None:
                logger.critical("a part of the operator ended", extra={"part": task.get_name()})

    def _chosen(self, prefix: str) -> list[asyncio.Task[Any]]:
        return [task for name, task in self._tasks.items() if name.startswith(prefix)]
