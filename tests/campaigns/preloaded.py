"""Imports what the file named by PRELOADED lists: for a server whose processes then need not import it."""

import contextlib
import importlib
import json
import os
from pathlib import Path

for name in json.loads(Path(os.environ["PRELOADED"]).read_text()):
    with contextlib.suppress(Exception):  # some can be imported only by another module
        importlib.import_module(name)
