"""Drives a policy through the published openpi-client and prints what it saw as one JSON line."""

import json
import sys

import numpy as np
from openpi_client import action_chunk_broker, websocket_client_policy

host, port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]
policy = websocket_client_policy.WebsocketClientPolicy(host, port, key)
metadata = policy.get_server_metadata()


def observation(first):
    made = {}
    for name, entry in metadata["observation"].items():
        if entry["dtype"] == "str":
            made[name] = "lift the cup"
        else:
            made[name] = np.zeros(entry["shape"], dtype=entry["dtype"])
    made["observation/state"][0] = first
    return made


replies = [policy.infer(observation(n / 10)) for n in range(5)]
broker = action_chunk_broker.ActionChunkBroker(policy, action_horizon=4)
steps = [broker.infer(observation(0.3)) for _ in range(6)]
refused = None
try:
    policy.infer({"prompt": "nothing to see"})
except RuntimeError as error:
    refused = str(error)
print(
    json.dumps(
        {
            "metadata": {k: v for k, v in metadata.items() if k != "observation"},
            "keys": [list(reply) for reply in replies],
            "timings": [sorted(reply["server_timing"]) for reply in replies],
            "dtype": str(replies[0]["actions"].dtype),
            "shapes": [list(reply["actions"].shape) for reply in replies],
            "first": [float(reply["actions"][0, 0]) for reply in replies],
            "steps": [list(step["actions"].shape) for step in steps],
            "refused": refused,
        }
    )
)
