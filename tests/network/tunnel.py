# SPDX-License-Identifier: MIT
"""TLS for a program that has none: what it sends to a local TCP port goes on by TLS, and back.

Run as a program it takes SERVER:PORT and the file of the authority, and prints the port it listens on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

from tests.network.namespaces import Host

ROOT = Path(__file__).parents[2]


def tunnel(host: Host, server: str, authority: Path, name: str) -> str:
    """Start a tunnel to `server` (ADDRESS:PORT) on `host`, called `name`, and return its address."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {__name__} import main; main()"
    started = host.start(name, sys.executable, "-c", script, server, authority)
    port = started.wait_for(r"^port (\d+)$", 5)[1]
    return f"127.0.0.1:{port}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(server: str, authority: str) -> None:
    host, _, port = server.rpartition(":")
    context = ssl.create_default_context(cafile=authority)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port), ssl=context)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    print("port", listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


def main() -> None:
    """Do it until somebody ends it."""
    asyncio.run(_serve(*sys.argv[1:3]))
