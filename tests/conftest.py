"""In CI the random histories are the same on every run: a change is judged by what it changed, not by its luck.

By hand they are new on every run, which is how new failures are found.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
