"""What a policy declares, returns and remembers, checked where it is used and by the conformance suite alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from phasecore.errors import InputError, PluginError, UnknownNameError, called, described
from phasecore.phases import Timeline
from phasecore.policies.actions import (
    ACTIONS,
    Action,
    AverageWeighting,
    ChangeWeighting,
    HoldWeighting,
    Row,
    SwitchOptimizer,
)
from phasecore.policies.base import Policy, State

PLAIN = (bool, int, float, str, type(None))

_STATE = "a NamedTuple of numbers, strings, True, False, None, and tuples of these"


def check_declaration(name: str, policy: Policy) -> None:
    """Refuse a policy that requires something else than actions.

    Args:
        name: the policy, as messages call it.
        policy: the policy.

    Raises:
        PluginError: naming the policy.

    Example:
        >>> from phasecore.policies.at_phase import at_phase
        >>> check_declaration("at_phase", at_phase("diffusion", "stop"))
    """
    requires: Any = policy.requires
    if not isinstance(requires, frozenset) or not all(isinstance(item, str) for item in requires):
        raise PluginError(
            f"policy {name!r}, requires", received=repr(requires), expected="a frozenset of the requirements of actions"
        )
    for requirement in sorted(requires):
        action, colon, of = requirement.partition(":")
        if action not in ACTIONS:
            raise PluginError(
                f"policy {name!r}, requires", received=repr(requirement), expected=f"some of {[*ACTIONS]}"
            )
        if (action in (SwitchOptimizer.name, ChangeWeighting.name)) != bool(colon and of):
            raise PluginError(
                f"policy {name!r}, requires",
                received=repr(requirement),
                expected="the requirement of an action, such as 'stop' or 'switch_optimizer:lbfgs'",
            )


def check_carried_out(
    name: str,
    policy: Policy,
    backend: str,
    declared: Iterable[str],
    fix: str = "Use another backend, or another policy.",
) -> None:
    """Refuse a policy that requires an action that a backend does not declare, before the first iteration.

    Args:
        name: the policy, as messages call it.
        policy: the policy.
        backend: what carries actions out, as messages call it.
        declared: what it can carry out: "stop", "switch_optimizer:adam", "change_weighting".
        fix: what to do instead.

    Raises:
        InputError: naming the policy, the action or optimizer, and what is declared.

    Example:
        >>> from phasecore.policies.at_phase import at_phase
        >>> check_carried_out("at_phase", at_phase("diffusion", "stop"), "torch", {"stop"})
    """
    known = sorted(declared)
    optimizers = [item.partition(":")[2] for item in known if item.startswith(f"{SwitchOptimizer.name}:")]
    # whether the optimizer can be switched comes before what becomes of the weights then
    for requirement in sorted(policy.requires, key=lambda item: (not item.startswith(SwitchOptimizer.name), item)):
        action, _, of = requirement.partition(":")
        if requirement in known or (action == ChangeWeighting.name and action in known):
            continue
        if action == SwitchOptimizer.name and optimizers:
            raise UnknownNameError(
                f"optimizer of policy {name!r}", of, optimizers, fix=f"These are the optimizers of backend {backend!r}."
            )
        if action in (HoldWeighting.name, AverageWeighting.name):
            fix = f"Where no weights of phasecore's are held, quasi_newton takes weights=updated. {fix}"
        raise InputError(
            f"policy {name!r} requires action {requirement!r}",
            received=f"backend {backend!r}, which carries out {known}",
            fix=fix,
        )


def check_together(policies: Iterable[tuple[str, Policy]]) -> None:
    """Refuse policies of which more than one switches the optimizer.

    Raises:
        InputError: naming them.

    Example:
        >>> from phasecore.policies.at_phase import at_phase
        >>> check_together([("a", at_phase("diffusion", "stop")), ("b", at_phase("diffusion", "lbfgs"))])
    """
    prefix = f"{SwitchOptimizer.name}:"
    switching = [name for name, policy in policies if any(item.startswith(prefix) for item in policy.requires)]
    if len(switching) > 1:
        raise InputError(
            "policies",
            received=f"{' and '.join(map(repr, switching))}, which both switch the optimizer",
            expected="at most one that does",
            fix="Leave one out, or use 'optimizer_by_phase', which names an optimizer for each phase.",
        )


def first_state(name: str, policy: Policy) -> State:
    """Return what `init` makes.

    Raises:
        PluginError: if it raises, or returns something else than a NamedTuple of plain values.

    Example:
        >>> from phasecore.policies.at_phase import at_phase
        >>> first_state("at_phase", at_phase("diffusion", "stop"))
        AtPhaseState(done=False)
    """
    return _checked_state(f"policy {name!r}, init()", called(f"policy {name!r}, init()", policy.init))


def decided(name: str, policy: Policy, timeline: Timeline, row: Row, state: State) -> tuple[Sequence[Action], State]:
    """Return the actions and the state of one update.

    Raises:
        PluginError: if it raises, or returns something else than actions that the policy requires and a state of its
            kind.

    Example:
        >>> from phasecore.policies.at_phase import at_phase
        >>> policy = at_phase("diffusion", "stop")
        >>> decided("at_phase", policy, Timeline((), None, ""), {"iteration": 1}, policy.init())
        ((), AtPhaseState(done=False))
    """
    where = f"policy {name!r}, update(timeline, row, state)"
    result = called(where, lambda: policy.update(timeline, row, state))
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], tuple | list)):
        raise PluginError(
            where,
            received=described(result),
            expected="(actions, state), actions being a tuple, empty where nothing is to be done",
        )
    actions, new = result
    for action in actions:
        if not isinstance(action, Action):
            raise PluginError(
                f"{where}, actions", received=described(action), expected=f"one of {', '.join(ACTIONS)}, as data"
            )
        if action.requirement not in policy.requires:
            raise PluginError(
                f"{where}, actions",
                received=repr(action.requirement),
                expected=f"what the policy requires: {sorted(policy.requires)}",
            )
    if type(new) is not type(state):
        raise PluginError(
            where, received=f"a state that is {described(new)}", expected=f"a {type(state).__name__}, as init returned"
        )
    return actions, _checked_state(where, new)


def plain_state(state: State) -> list[Any]:
    """Return a policy's state as JSON has it.

    Example:
        >>> from phasecore.policies.at_phase import AtPhaseState
        >>> plain_state(AtPhaseState(True))
        [True]
    """
    return [_as(list, value) for value in state]


def restored_state(saved: Sequence[Any], kind: Callable[..., State]) -> State:
    """Return a policy's state from `plain_state` of it.

    Args:
        saved: what was saved.
        kind: of the state that `init` returns.

    Example:
        >>> from phasecore.policies.at_phase import AtPhaseState
        >>> restored_state([True], AtPhaseState)
        AtPhaseState(done=True)
    """
    return kind(*(_as(tuple, value) for value in saved))


def _as(kind: type, value: Any) -> Any:
    return kind(_as(kind, item) for item in value) if isinstance(value, list | tuple) else value


def _checked_state(where: str, state: Any) -> State:
    if not (isinstance(state, tuple) and (hasattr(state, "_fields") or not state)):
        raise PluginError(where, received=described(state), expected=_STATE)
    for field, value in zip(getattr(state, "_fields", ()), state, strict=True):
        if not _is_plain(value):
            raise PluginError(f"{where}, state {field!r}", received=described(value), expected=_STATE)
    return state


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return all(_is_plain(item) for item in value)
    return type(value) in PLAIN
