"""Prints an export of usage as one JSON line: its columns' types and its rows, instants as ISO 8601 of UTC."""

import csv
import datetime
import json
import sys

import pyarrow.parquet


def plain(value: object) -> object:
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return value


path = sys.argv[1]
if path.endswith(".csv"):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    types = {name: "text" for name in rows[0]}
else:
    table = pyarrow.parquet.read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    rows = [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]
print(json.dumps({"types": types, "rows": rows}))
