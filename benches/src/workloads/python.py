"""Python's contenders. Reads `WORKLOAD OPS SIZE` from each line of input and answers `OPS WALL CPU`, in nanoseconds.

The library is the first argument. The clocks run inside of the run, as in Rust.
"""

import sys
import time

library = sys.argv[1]

if library == "trio":
    import trio

    run, checkpoint, open_nursery = trio.run, trio.lowlevel.checkpoint, trio.open_nursery
    channel, move_on_after = trio.open_memory_channel, trio.move_on_after
else:
    import anyio
    import anyio.lowlevel

    run, checkpoint, open_nursery = anyio.run, anyio.lowlevel.checkpoint, anyio.create_task_group
    channel, move_on_after = anyio.create_memory_object_stream, anyio.move_on_after


async def child():
    pass


async def bulk(ops, size):
    batches = max(ops // size, 1)
    for _ in range(batches):
        async with open_nursery() as nursery:
            for _ in range(size):
                nursery.start_soon(child)
    return batches * size


async def yields(ops, size):
    turns = max(ops // size, 1)

    async def task():
        for _ in range(turns):
            await checkpoint()

    async with open_nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(task)
    return turns * size


async def ping_pong(ops, _):
    ping, pinged = channel(0)
    pong, ponged = channel(0)

    async def player():
        async with ping:
            for index in range(ops):
                await ping.send(index)
                await ponged.receive()

    async def partner():
        async for index in pinged:
            await pong.send(index)

    async with open_nursery() as nursery:
        nursery.start_soon(player)
        nursery.start_soon(partner)
    for end in (pinged, pong, ponged):
        end.close()
    return ops


async def timeout(ops, _):
    for _ in range(ops):
        with move_on_after(1):
            await child()
    return ops


WORKLOADS = {"bulk": bulk, "yields": yields, "ping_pong": ping_pong, "timeout": timeout}


async def measure(name, ops, size):
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    done = await WORKLOADS[name](ops, size)
    print(done, time.perf_counter_ns() - wall, time.process_time_ns() - cpu, flush=True)


# To be asked for is to be ready: imports, which may fail, are behind us.
print("ready", flush=True)
for line in sys.stdin:
    name, ops, size = line.split()
    run(measure, name, int(ops), int(size))
