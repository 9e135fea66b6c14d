"""Training curves that others recorded lie beside the project, in no place that it knows: they are looked for."""

import os
from pathlib import Path

VARIABLE = "PHASECORE_RECORDED_CURVES"
LABELS = "labels.json"


def places(start):
    """Where recorded curves may lie: in the folder that the variable names, else in `shared` of any folder above."""
    given = os.environ.get(VARIABLE)
    if given:
        return [Path(given)]
    return [folder / "shared" / "recorded_curves" for folder in Path(start).resolve().parents]


def find(start=__file__):
    """Return the folder of the recorded curves.

    Raises:
        FileNotFoundError: if there is none; it says where it looked.
    """
    looked = places(start)
    for folder in looked:
        if (folder / LABELS).exists():
            return folder
    raise FileNotFoundError(
        f"no recorded curves ({LABELS}) in {', '.join(map(str, looked))}. Say where they are by {VARIABLE}"
    )
