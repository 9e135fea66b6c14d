"""What a person is told of rows that files lack or lose."""

from __future__ import annotations

NOT_WRITTEN = (
    "not written: {}. It is lost when this process ends: make room and call finish() again, or go on from the last "
    "checkpoint (--resume, resume=True)"
)

LACKING = (
    "{file} lacks {count} rows that were captured, between iterations {first} and {last}: phases and outcome are told "
    "from the others"
)

DROPPED = "{file}: rows after iteration {iteration} dropped ({count}): the training goes on from there"
