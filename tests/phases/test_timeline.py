"""Timelines and their JSON."""

import json

from phasecore.phases import Evidence, Nonfinite, Phase, Timeline, Transition

DIFFUSION = Transition(Phase.DIFFUSION, 150, (120, 190), 0.91234567, (Evidence("snr", "SNR fell", 2.5),))
TOTAL = Transition(Phase.TOTAL_DIFFUSION, 11100, (9000, 13000), 0.8, (), declared_at=15000)


def test_the_json_is_the_documented_one():
    document = Timeline((DIFFUSION, TOTAL), Phase.TOTAL_DIFFUSION, "total diffusion: it rose").to_json()
    assert json.loads(json.dumps(document)) == {
        "current": "total_diffusion",
        "transitions": [
            {
                "phase": "diffusion",
                "iteration": 150,
                "confidence": 0.9123,
                "interval": [120, 190],
                "evidence": [{"quantity": "snr", "statement": "SNR fell", "log_odds": 2.5}],
            },
            {
                "phase": "total_diffusion",
                "iteration": 11100,
                "confidence": 0.8,
                "interval": [9000, 13000],
                "evidence": [],
                "declared_at": 15000,
            },
        ],
        "reason": "total diffusion: it rose",
    }


def test_cannot_tell_is_null():
    document = Timeline((), None, "cannot tell: 3 captures").to_json()
    assert document["current"] is None
    assert document["transitions"] == []


def test_phases_cover_the_iterations():
    timeline = Timeline((DIFFUSION, TOTAL), Phase.TOTAL_DIFFUSION, "")
    assert [timeline.phase_at(iteration) for iteration in (0, 149, 150, 11099, 11100, 10**6)] == [
        Phase.FITTING,
        Phase.FITTING,
        Phase.DIFFUSION,
        Phase.DIFFUSION,
        Phase.TOTAL_DIFFUSION,
        Phase.TOTAL_DIFFUSION,
    ]
    assert timeline.spans(300000) == [
        (Phase.FITTING, 0, 150),
        (Phase.DIFFUSION, 150, 11100),
        (Phase.TOTAL_DIFFUSION, 11100, 300000),
    ]
    assert timeline.spans(1000) == [(Phase.FITTING, 0, 150), (Phase.DIFFUSION, 150, 1000)]


def test_what_was_not_seen_is_not_claimed():
    late = Timeline((TOTAL,), Phase.TOTAL_DIFFUSION, "")
    assert late.phase_at(500) is None
    assert late.start(Phase.FITTING) is None
    assert late.spans(20000) == [(Phase.TOTAL_DIFFUSION, 11100, 20000)]
    unknown = Timeline((), None, "cannot tell")
    assert unknown.phase_at(10) is None
    assert unknown.spans(100) == []


def test_what_was_known_before_the_numbers_ended_is_still_known():
    ended = Timeline((DIFFUSION,), None, "cannot tell: it is NaN", Nonfinite(3000, "it is NaN", Phase.DIFFUSION))
    assert [ended.phase_at(iteration) for iteration in (10, 200, 2999)] == [Phase.FITTING, *[Phase.DIFFUSION] * 2]
    assert ended.phase_at(3000) is None
    assert ended.spans(9000) == [(Phase.FITTING, 0, 150), (Phase.DIFFUSION, 150, 3000)]
    never = Timeline((), None, "cannot tell: it is NaN", Nonfinite(3000, "it is NaN", Phase.FITTING))
    assert never.phase_at(10) is Phase.FITTING
    assert never.spans(9000) == [(Phase.FITTING, 0, 3000)]
    assert ended.to_json()["nonfinite"] == {"iteration": 3000, "statement": "it is NaN"}
    assert "nonfinite" not in Timeline((DIFFUSION,), Phase.DIFFUSION, "").to_json()
