"""Drives the control plane through a client that was generated from its OpenAPI file; prints one JSON line."""

import json
import sys

from armature_client import AuthenticatedClient
from armature_client.api.embodiments import (
    embodiments_create,
    embodiments_get,
    embodiments_list,
)
from armature_client.api.keys import keys_create, keys_list
from armature_client.api.tenants import tenants_create
from armature_client.models import (
    EmbodimentsCreateBody,
    EmbodimentSpecInput,
    KeysCreateBody,
    Problem,
    TenantsCreateBody,
)

url, platform_key, spec = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])


def client(key):
    return AuthenticatedClient(
        base_url=url, token=key, raise_on_unexpected_status=True
    )


def problem(response):
    assert isinstance(response.parsed, Problem), response.content
    return {
        "status": int(response.status_code),
        "type": response.headers["content-type"],
        "header": response.headers["x-request-id"],
        **response.parsed.to_dict(),
    }


made = tenants_create.sync(
    client=client(platform_key), body=TenantsCreateBody(name="from Python")
)
admin = client(made.secret)


def key(name, idempotency_key, scopes=("read",)):
    body = KeysCreateBody.from_dict({"name": name, "scopes": list(scopes)})
    return keys_create.sync_detailed(
        client=admin, body=body, idempotency_key=idempotency_key
    )


first = key("reader", "python-key-1")
again = key("reader", "python-key-1")
changed = key("another", "python-key-1")
reader = client(first.parsed.secret)

body = EmbodimentsCreateBody(spec=EmbodimentSpecInput.from_dict(spec))
created = [embodiments_create.sync(client=admin, body=body) for _ in range(5)]
refused = embodiments_create.sync_detailed(client=reader, body=body)

pages = []
cursor = None
while cursor is not None or not pages:
    more = {} if cursor is None else {"cursor": cursor}
    page = embodiments_list.sync(client=reader, limit=2, **more)
    pages.append([item.id for item in page.items])
    cursor = page.next_cursor

print(
    json.dumps(
        {
            "secret": made.secret,
            "keys": [item.name for item in keys_list.sync(client=admin).items],
            "repeated": first.parsed.to_dict() == again.parsed.to_dict(),
            "changed": problem(changed),
            "created": [item.to_dict() for item in created],
            "pages": pages,
            "read": embodiments_get.sync(id=pages[-1][-1], client=reader).to_dict(),
            "forbidden": problem(refused),
            "absent": problem(
                embodiments_get.sync_detailed(id="emb_absent", client=reader)
            ),
        }
    )
)
