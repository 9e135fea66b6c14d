"""What a comparison is asked for: checked, kept in its folder, and made into trainings."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phasecore.cli.consoles import tell
from phasecore.cli.options import all_probes
from phasecore.errors import InputError
from phasecore.specifications import parse_composed, parse_specification

if TYPE_CHECKING:
    from phasecore.backends import Training

FIGURE = "compare.png"
NOT_FOR_TRAINING = ("problem", "problem_file", "weightings", "seeds", "loggers", "policies", "runs")
"""Parts of a request that are no options of one training."""


def split_seeds(text: str) -> list[int]:
    """Read "0,1,2".

    Raises:
        InputError: for anything but different whole numbers.

    Example:
        >>> split_seeds("0, 2,1")
        [0, 2, 1]
    """
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) for part in parts if re.fullmatch(r"[0-9]{1,18}", part)]
    if len(seeds) < len(parts):
        raise InputError("--seeds", received=repr(text), expected='whole numbers with commas between, such as "0,1,2"')
    repeated = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if repeated is not None:
        raise InputError("--seeds", received=f"{repeated} more than once", expected="each once")
    return seeds


def with_seeds(given: Mapping[str, Any], seeds: str | None) -> dict[str, Any]:
    """Return the options with the seeds of `--seeds`; a single one is that of `--seed`.

    Raises:
        InputError: if they are no seeds, or both options are given.

    Example:
        >>> with_seeds({"width": 8}, "3"), with_seeds({}, "0,1")
        ({'width': 8, 'seed': 3}, {'seeds': [0, 1]})
    """
    if seeds is None:
        return dict(given)
    if given.get("seed") is not None:
        raise InputError(
            "--seed and --seeds", received=f"both, {given['seed']} and {seeds}", expected="one of them",
            fix="Name all seeds with --seeds.",
        )  # fmt: skip
    found = split_seeds(seeds)
    return {**given, **({"seed": found[0]} if len(found) == 1 else {"seeds": found})}


def prepare_all(
    request: Mapping[str, Any], resumed: Path | None, *, asked: Container[str], leave_out: bool
) -> dict[str, list[Training]]:
    """Make all trainings, so that whatever is wrong with one of them is said before the first begins.

    Args:
        request: what is asked for.
        resumed: the folder of a comparison that goes on, or None.
        asked: which of it is asked for now, not when the comparison began.
        leave_out: do without the weightings that cannot be trained with, and say why; not without all of them.

    Returns:
        For each weighting one training for each seed.
    """
    from phasecore.recording.configuration import settings_of
    from phasecore.recording.folder import CONFIGURATION, read_configuration
    from phasecore.runs.preparation import DEFAULT_PRESET, complete_weighting, prepare, prepare_resumed, problem_of

    options = {name: value for name, value in request.items() if name not in NOT_FOR_TRAINING}
    if request.get("policies"):
        options["policy"] = "+".join(request["policies"])
    options["probes"] = all_probes(options.get("probes", ()))
    problem, preset = problem_of(request["problem"], options.get("preset", DEFAULT_PRESET))
    seeds = request.get("seeds")

    def made(weighting: str, seed: int | None) -> Training:
        own = {**options, "weighting": weighting, **({} if seed is None else {"seed": seed})}
        there = None if resumed is None else run_folder(resumed, complete_weighting(weighting, preset), seed)
        if there is not None and (there / CONFIGURATION).exists():
            if "iterations" in own and "iterations" not in asked:
                # one that was gone on with by itself has more of them than the comparison began with
                done = settings_of(read_configuration(there), there / CONFIGURATION).iterations
                own["iterations"] = max(own["iterations"], done)
            return prepare_resumed(there, problem=request["problem"], **own)
        return prepare(problem, **own)

    trainings: dict[str, list[Training]] = {}
    refused: list[InputError] = []
    for weighting in request["weightings"]:
        try:
            trainings[weighting] = [made(weighting, seed) for seed in seeds or [None]]
        except InputError as error:
            if not leave_out:
                raise
            refused.append(error)
    if not trainings:
        # the reason is none of a weighting's
        raise refused[0]
    _check_different({weighting: own[0].scheme_name for weighting, own in trainings.items()})
    for reason in refused:
        tell(f"left out: {reason}")
    return trainings


def _check_different(schemes: Mapping[str, str]) -> None:
    """Refuse weightings that are the same, with the options that the preset recommends for those that are not given.

    Args:
        schemes: the whole specification of each weighting that was asked for.
    """
    found: list[tuple[str, object]] = []
    for weighting, whole in schemes.items():
        meant = parse_composed(whole, "weighting")
        same = next((other for other, its in found if its == meant), None)
        if same is not None:
            raise InputError(
                "--weightings",
                received=f"{same!r} and {weighting!r}, which are both {whole!r} here",
                expected="each once",
            )
        found.append((weighting, meant))


def in_folders(trainings: Mapping[str, list[Training]], folder: Path, request: Mapping[str, Any]) -> list[Training]:
    """Return all trainings with their run folders, those of a seed together, in the order in which they begin."""
    several = "seeds" in request
    placed = [
        [
            replace(one, folder=run_folder(folder, one.scheme_name, one.settings.seed if several else None))
            for one in own
        ]
        for own in trainings.values()
    ]
    return [one for of_a_seed in zip(*placed, strict=True) for one in of_a_seed]


def run_folder(folder: Path, scheme_name: str, seed: int | None) -> Path:
    """Return where a run of a comparison is kept: `FOLDER/rba`, with several seeds `FOLDER/rba-seed-1`."""
    from phasecore.recording.folder import slug

    return folder / (slug(scheme_name) + ("" if seed is None else f"-seed-{seed}"))


def check_free(folder: Path) -> None:
    """Refuse a folder that holds a run or a comparison.

    Raises:
        InputError: if it does.
    """
    from phasecore.recording import folder as run_folders

    run_folders.check_free(folder)
    held = [name for name in (run_folders.COMPARISON, FIGURE) if (folder / name).exists()]
    held += [path.parent.name for path in folder.glob("*/run.json")]
    if held:
        raise InputError(
            f"output {folder} already holds a comparison",
            received=f"a folder with {held[0]}",
            expected="a folder without one",
            fix="Choose another folder, or go on with that comparison: --resume. Nothing was overwritten.",
        )


def make_folder(folder: Path) -> None:
    """Make the folder of a comparison; what a killed process left half written there is removed.

    Raises:
        InputError: if it cannot be made.
    """
    from phasecore.files import clear_parts

    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_parts(folder)
    except OSError as error:
        raise InputError(f"cannot make {folder}", received=str(error), fix="Name another with --output.") from None


def resumed_request(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that a comparison was started with; what is given now must agree with it.

    Raises:
        InputError: if it does not, or there is no comparison.
    """
    from phasecore.recording.folder import COMPARISON, read_json

    if not (folder / COMPARISON).is_file():
        raise InputError(f"no comparison at {folder}", expected=f"a folder with {COMPARISON}")
    recorded = read_json(folder / COMPARISON)
    if not {"problem", "weightings"} <= recorded.keys():
        raise InputError(f"cannot read {folder / COMPARISON}", expected='an object with "problem" and "weightings"')
    agreed = dict(given)
    agreed["problem"] = _problem_agreed(folder, str(given["problem"]), str(recorded["problem"]), recorded)
    _check_agreed(folder, "weightings", agreed.setdefault("weightings", recorded["weightings"]), recorded["weightings"])
    if given.get("policies"):
        _check_agreed(folder, "policy", "+".join(given["policies"]), "+".join(recorded.get("policies", ())) or None)
    if "seeds" in recorded or "seeds" in given:
        seeds = given.get("seeds", given.get("seed", recorded.get("seeds")))
        _check_agreed(folder, "seeds", seeds, recorded.get("seeds", recorded.get("seed", 0)))
    return {**recorded, **agreed}


def file_of_problem(problem: str) -> dict[str, str]:
    """Return the part of a request that says where the file of a class of one's own is; nothing for other problems.

    Example:
        >>> file_of_problem("helmholtz:a1=2"), Path(file_of_problem("wave.py:Wave")["problem_file"]).is_absolute()
        ({}, True)
    """
    from phasecore.runs.preparation import written_class

    written = written_class(problem)
    is_file = written is not None and written.where.endswith(".py")
    return {"problem_file": str(Path(written.where).expanduser().resolve())} if written and is_file else {}


def _problem_agreed(folder: Path, given: str, recorded: str, request: Mapping[str, Any]) -> str:
    """The problem as it is given, with the recorded parameters where it is given without.

    A class is the same if its name and its file are, by whatever path the file is found now.
    """
    from phasecore.runs.preparation import written_class

    one, other = written_class(given), written_class(recorded)
    if one is None and other is None:
        now, was = parse_specification(given, "problem"), parse_specification(recorded, "problem")
        agree, again = (now[0] == was[0] and now[1] in ({}, was[1])), recorded
    elif one is None or other is None:
        agree, again = False, given
    else:
        places = [file_of_problem(given).get("problem_file", one.where)]
        places += [request.get("problem_file") or file_of_problem(recorded).get("problem_file", other.where)]
        agree = one.name == other.name and places[0] == places[1] and one.parameters in ({}, other.parameters)
        options = recorded.strip()[len(other.where) + 1 :].partition(":")[2]
        again = f"{one}:{options}" if options else str(one)
    if not agree:
        file = request.get("problem_file")
        raise _differs(folder, "problem", given, f"{recorded} of {file}" if file else recorded)
    return again


def _check_agreed(folder: Path, name: str, given: object, recorded: object) -> None:
    if given != recorded:
        raise _differs(folder, name, given, recorded)


def _differs(folder: Path, name: str, given: object, recorded: object) -> InputError:
    return InputError(
        f"the comparison in {folder} differs in {name!r}",
        received=given,
        expected=recorded,
        fix="Leave the option out to go on with that comparison, or choose another folder.",
    )
