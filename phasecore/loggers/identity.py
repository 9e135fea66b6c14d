"""Which run of another tool a training goes on with: kept in its run folder, for each place that runs are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import final

from phasecore.backends import Monitored, Training
from phasecore.recording.history import replace_file


@final
class Identity:
    """The identity of a training's run, known as long as the logger lives, and longer where there is a run folder.

    Each line of the file is an identity and, after a tab, its place as JSON; a line without one is of any place.

    Args:
        file: name of the file in the run folder.
        place: where the run is, by names of options and their values.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> training = Monitored("torch", folder=Path(tempfile.mkdtemp()))
        >>> here, there = Identity("ids.txt", {"uri": "here"}), Identity("ids.txt", {"uri": "there"})
        >>> here.keep(training, "1")
        >>> there.keep(training, "2")
        >>> Identity("ids.txt", {"uri": "here"}).of(training), Identity("ids.txt", {"uri": "elsewhere"}).of(training)
        ('1', None)
    """

    def __init__(self, file: str, place: Mapping[str, str | None]) -> None:
        self._file = file
        self._place = json.dumps(place, sort_keys=True, default=str)
        self._known: tuple[Training | Monitored, str] | None = None

    def of(self, training: Training | Monitored) -> str | None:
        """Return the identity of a training's run, or None where it is not known."""
        if self._known is not None and self._known[0] is training:
            return self._known[1]
        kept = self._kept(training)
        return kept.get(self._place) or kept.get("")

    def keep(self, training: Training | Monitored, identity: str) -> None:
        """Keep the identity of a training's run."""
        self._known = training, identity
        kept = self._kept(training)
        if training.folder is not None and kept.get(self._place) != identity:
            kept[self._place] = identity
            training.folder.mkdir(parents=True, exist_ok=True)
            lines = [f"{own}\t{place}" if place else own for place, own in kept.items()]
            replace_file(training.folder / self._file, "".join(f"{line}\n" for line in lines))

    def _kept(self, training: Training | Monitored) -> dict[str, str]:
        file = None if training.folder is None else training.folder / self._file
        if file is None or not file.exists():
            return {}
        parts = [line.partition("\t") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {place: identity.strip() for identity, _, place in parts}
