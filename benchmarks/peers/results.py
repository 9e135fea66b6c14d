"""Results on disk: each is written when it is there, so an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


class Results:
    """Times by case and contender, memory by case and contender.

    Args:
        file: where they are kept.
        setting: machine, versions and numbers of rounds that the results belong to.
        fresh: forget what the file holds.

    Raises:
        SystemExit: if the file holds the results of another setting.
    """

    def __init__(self, file: Path, setting: dict[str, Any], *, fresh: bool = False) -> None:
        self.file = file
        self.data: dict[str, Any] = {"setting": setting, "times": {}, "memory": {}}
        if file.exists() and not fresh:
            stored = json.loads(file.read_text())
            if stored["setting"] != setting:
                before = stored["setting"]
                changed = [
                    f"{name} {before.get(name)}, now {now}" for name, now in setting.items() if before.get(name) != now
                ]
                raise SystemExit(f"{file} holds results of another setting ({'; '.join(changed)}). Give --fresh.")
            self.data = stored

    def keep(self, kind: str, case: str, found: dict[str, Any]) -> None:
        """Add what was found of the contenders of a case, and write all."""
        self.data[kind].setdefault(case, {}).update(found)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(partial, self.file)


def machine() -> dict[str, Any]:
    """Return what is known of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "gibibytes": round(size / 2**30)}
