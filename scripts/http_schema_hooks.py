"""What schemathesis must know of a hub besides its OpenAPI document (see scripts/http-schema)."""

import itertools
import json
import re

import schemathesis

VM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")

# Names that are as the document wants them are mostly made those of the two VMs, so that every operation is reached.
names = itertools.cycle(["web1", "web2", "web1", "web2", None])

# Commands are mostly made one that every VM knows.
commands = itertools.cycle(["query-status", None, "qom-list-types"])


def is_true(value):
    values = value if isinstance(value, list) else [value]
    return any(str(value).lower() == "true" for value in values)


@schemathesis.hook
def before_call(context, case, kwargs):
    query = case.query or {}
    # `x-endless` in the document: the answer would not end.
    if "follow" in query and is_true(query["follow"]):
        query["follow"] = "false"
    # An offset behind the last record is refused, and the document cannot say which that is.
    if str(query.get("after", "")).isdecimal():
        query["after"] = str(min(int(query["after"]), 1))
    name = (case.path_parameters or {}).get("name")
    if isinstance(name, str) and VM_NAME.match(name):
        case.path_parameters["name"] = next(names) or name
    body = case.body
    if isinstance(body, dict) and set(body) <= {"execute", "arguments"} and isinstance(body.get("execute"), str):
        command = next(commands)
        if command:
            case.body = {**body, "execute": command}


@schemathesis.deserializer("application/x-ndjson")
def first_line(context, response):
    """The schema is that of a line; every line is held against it by the tests of the hub."""
    lines = response.content.splitlines()
    return json.loads(lines[0]) if lines else EXAMPLE


EXAMPLE = {
    "offset": 1,
    "vm": "web1",
    "epoch": 1,
    "seq": 1,
    "received": "2026-01-02T03:04:05.678901Z",
    "kind": "event",
    "event": "STOP",
}
