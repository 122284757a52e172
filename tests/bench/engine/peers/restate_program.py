"""Process: a service of Restate's SDK, as its documentation has it; runs under the Python of its own environment.

`restate_program.py <port>` serves one process of Hypercorn with the settings that are recommended for production.
"""

from __future__ import annotations

import asyncio
import sys
import time

import hypercorn
import hypercorn.asyncio
import restate

NO_LIMIT = 2147483647

bench = restate.Service("bench")


async def nothing() -> int:
    return 1


async def stamp() -> float:
    return time.time()


@bench.handler()
async def steps(ctx: restate.Context, number: int) -> None:
    for _ in range(number):
        await ctx.run_typed("step", nothing)


@bench.handler()
async def first_step(ctx: restate.Context) -> float:
    return await ctx.run_typed("stamp", stamp)


app = restate.app(services=[bench])


def main() -> None:
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.h2_max_concurrent_streams = NO_LIMIT
    config.keep_alive_max_requests = NO_LIMIT
    config.keep_alive_timeout = NO_LIMIT
    asyncio.run(hypercorn.asyncio.serve(app, config))


if __name__ == "__main__":
    main()
