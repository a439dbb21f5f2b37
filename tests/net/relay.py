#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that delays every byte, each way: distance, where the kernel has no netem.
relay.py LISTEN_ADDRESS PORT TO_ADDRESS PORT DELAY_MS; says "ready" when it listens."""
import asyncio
import sys

listen, port, to, to_port, delay = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), \
    int(sys.argv[5]) / 1000


async def pump(reader, writer):
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue(256)  # back-pressure beyond it

    async def deliver():
        while True:
            at, data = await queue.get()
            await asyncio.sleep(max(0, at - loop.time()))
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    task = asyncio.create_task(deliver())
    while True:
        data = await reader.read(1 << 16)
        await queue.put((loop.time() + delay, data))
        if not data:
            break
    await task


async def serve(reader, writer):
    try:
        there_reader, there_writer = await asyncio.open_connection(to, to_port)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        there_writer.close()
    except OSError:
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, listen, port)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
