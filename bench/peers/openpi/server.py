"""openpi's serving loop (openpi/serving/websocket_policy_server.py) around a policy of a given cost.

The policy is called in the event loop, one request at a time, as openpi calls its own. Prints the
port that it listens on.
"""

import asyncio
import http
import sys
import time
import traceback

import numpy as np
import websockets.asyncio.server as server
import websockets.exceptions
import websockets.frames
from openpi_client import msgpack_numpy

HORIZON, WIDTH = int(sys.argv[2]), int(sys.argv[3])
RUN_S = float(sys.argv[1]) / 1000


def infer(obs: dict) -> dict:
    started = time.monotonic()
    if RUN_S > 0:
        time.sleep(RUN_S)
    actions = np.full((HORIZON, WIDTH), float(obs["observation/state"][0]))
    return {"actions": actions, "policy_timing": {"infer_ms": (time.monotonic() - started) * 1000}}


async def handler(websocket: server.ServerConnection) -> None:
    packer = msgpack_numpy.Packer()
    await websocket.send(packer.pack({}))
    previous = None
    while True:
        try:
            started = time.monotonic()
            obs = msgpack_numpy.unpackb(await websocket.recv())
            infer_started = time.monotonic()
            action = infer(obs)
            action["server_timing"] = {"infer_ms": (time.monotonic() - infer_started) * 1000}
            if previous is not None:
                action["server_timing"]["prev_total_ms"] = previous * 1000
            await websocket.send(packer.pack(action))
            previous = time.monotonic() - started
        except websockets.exceptions.ConnectionClosed:
            break
        except Exception:
            await websocket.send(traceback.format_exc())
            await websocket.close(
                code=websockets.frames.CloseCode.INTERNAL_ERROR, reason="Internal server error."
            )
            raise


def health(connection: server.ServerConnection, request: server.Request):
    return connection.respond(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None


async def main() -> None:
    async with server.serve(
        handler, "127.0.0.1", 0, compression=None, max_size=None, process_request=health
    ) as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await listening.serve_forever()


asyncio.run(main())
