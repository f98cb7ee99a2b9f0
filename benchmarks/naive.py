"""The obvious way to check the same files: PyYAML's SafeLoader and jsonschema, with the same schema.

In: ``python -m benchmarks.naive SCHEMA FILE...``. Out: nothing; exits 1 when a file breaks the schema.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

if __name__ == "__main__":
    _schema, *_files = sys.argv[1:]
    _validator = Draft202012Validator(json.loads(Path(_schema).read_text(encoding="utf-8")))
    for _file in _files:
        _data = yaml.load(Path(_file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        if any(True for _ in _validator.iter_errors(_data)):
            sys.exit(1)
