# SPDX-License-Identifier: MIT
"""An event loop that a test runs one callback at a time, and whose time the test moves: each order in which things can
happen is made on purpose, none by chance."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from itertools import count, permutations, product

MOST_STEPS = 5000


class SteppedLoop(asyncio.AbstractEventLoop):
    """`start` a coroutine, then `step`. Exceptions that nobody caught are in `errors`."""

    def __init__(self):
        self.now = 0.0
        self.errors = []
        self._ready = deque()
        self._timers = []
        self._numbers = count()

    # -- for the test

    def start(self, coroutine, name=None):
        with self:
            return self.create_task(coroutine, name=name)

    def step(self):
        """Runs the next callback. False: none is ready."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                with self:
                    handle._run()
                return True
        return False

    def steps(self, n):
        for _ in range(n):
            self.step()

    def settle(self, until=lambda: False):
        """Runs all that is ready, until the condition holds. True: it holds."""
        for _ in range(MOST_STEPS):
            if until() or not self.step():
                break
        return until()

    def advance(self, seconds):
        """Moves the time; the timers that are due are ready then, and do not run yet."""
        self.now += seconds
        while self._timers and self._timers[0][0] <= self.now:
            self._ready.append(heapq.heappop(self._timers)[2])

    def finish(self, coroutine, seconds=60.0):
        """The coroutine's result. Time passes when nothing else happens, up to `seconds`."""
        task = self.start(coroutine)
        ends = self.now + seconds
        while not self.settle(task.done):
            assert self._timers, f"it waits for ever: {task!r}"
            assert self.now < ends, f"it did not end: {task!r}"
            self.advance(max(0.0, self._timers[0][0] - self.now))
        return task.result()

    def __enter__(self):
        asyncio._set_running_loop(self)

    def __exit__(self, *exc):
        asyncio._set_running_loop(None)

    # -- for asyncio

    def call_soon(self, callback, *args, context=None):
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def time(self):
        return self.now

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coroutine, **options):
        return asyncio.Task(coroutine, loop=self, **options)

    def call_exception_handler(self, context):
        self.errors.append(context)

    def get_debug(self):
        return False

    def is_running(self):
        return True

    def is_closed(self):
        return False

    def _timer_handle_cancelled(self, handle):
        pass


def orders(most, *actions):
    """Every way to do the actions at steps 0 to `most` - 1, as {step: [action, ...]}. Those of one step come in each
    order."""
    for order in permutations(range(len(actions))):
        for steps in product(range(most), repeat=len(actions)):
            plan = {}
            for n in order:
                plan.setdefault(steps[n], []).append(actions[n])
            if order == tuple(range(len(actions))) or any(len(several) > 1 for several in plan.values()):
                yield plan
