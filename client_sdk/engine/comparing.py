"""The relay's stream is of another incarnation: how far is it the one that this device has read?

A relay cannot prove what it held. So the device reads the newest entries that both have once more, and
compares them with what it remembers; whether others were shown the same, their next message tells as ever.
"""

from __future__ import annotations

from client_sdk.delivery import (
    MOST_COMPARED,
    ClonedDevice,
    Comparison,
    StreamReplaced,
    StreamRolledBack,
    after_incarnation,
)
from client_sdk.delivery.repair import Histories
from client_sdk.engine import keeping, repairing
from client_sdk.engine.records import Phase
from client_sdk.engine.standing import IN_THE_GROUP, Work
from relay.wire import frames as fr


def meet(work: Work, opened: fr.Opened) -> Comparison | None:
    """What is to be read again; None if the new incarnation is dealt with. Raises `SecurityAlarm`."""
    record = work.record
    _histories(work, opened, lost=False)
    if record.phase not in IN_THE_GROUP:
        return _meet_without_group(work, opened)
    if opened.head == 0 < record.cursor:
        raise StreamReplaced(before=record.incarnation, now=opened.incarnation)  # it was begun anew
    if not opened.member or record.cursor == 0:
        _meet_outside(work, opened)
        return None
    upto = min(record.cursor, opened.head)
    passed = {row.seq: row for row in keeping.passed_upto(work, upto, MOST_COMPARED)}
    comparison = Comparison(passed, upto=upto, first=opened.first, entered=record.entered)
    if comparison.agreed is not None:
        conclude(work, opened, comparison)
        return None
    return comparison


def conclude(work: Work, opened: fr.Opened, comparison: Comparison) -> None:
    """How far both agree is known: go on, or go back and repair. Raises `SecurityAlarm`."""
    agreed, record = comparison.agreed, work.record
    if agreed is None or agreed < 0:
        raise StreamReplaced(before=record.incarnation, now=opened.incarnation)
    if record.phase not in IN_THE_GROUP:
        _begin_anew(work, opened, agreed)
        return
    if agreed < record.cursor:
        _repair(work, opened, agreed)
        return
    work.box = work.box.set_back(opened.last_counter)
    work.change(lost_from=keeping.lost_from(work, agreed))
    _note(work, opened)


def _repair(work: Work, opened: fr.Opened, agreed: int) -> None:
    record = work.record
    if not keeping.passed_upto(work, record.cursor, 1):
        # An earlier version of this program kept nothing that could be offered again.
        raise StreamRolledBack(seq=record.cursor, head=opened.head)
    histories = _histories(work, opened, lost=True)
    repairing.begin(work, opened, agreed)
    work.change(histories=histories, incarnation=opened.incarnation)


def _meet_without_group(work: Work, opened: fr.Opened) -> Comparison | None:
    """What it read when it was in the group is compared too: what it said since then is to come again."""
    newest = keeping.newest_upto(work, opened.head)
    if work.record.phase is not Phase.REJOINING or newest is None or not opened.member:
        _begin_anew(work, opened, None)
        return None
    passed = {row.seq: row for row in keeping.passed_upto(work, newest.seq, MOST_COMPARED)}
    comparison = Comparison(passed, upto=newest.seq, first=opened.first, entered=work.record.entered)
    if comparison.agreed is not None:
        conclude(work, opened, comparison)
        return None
    return comparison


def _begin_anew(work: Work, opened: fr.Opened, agreed: int | None) -> None:
    """This device has no group state: it takes the stream as it is, never below what it has seen."""
    record = work.record
    if opened.last_commit == 0 < record.last_commit:
        raise StreamReplaced(before=record.incarnation, now=opened.incarnation)
    if opened.last_counter > work.box.highest_counter and not record.starts_over:
        raise ClonedDevice(relay_counter=opened.last_counter, own_counter=work.box.highest_counter)
    lost = agreed is not None and bool(keeping.passed_after(work, agreed))
    histories = _histories(work, opened, lost=lost)
    if agreed is not None:
        repairing.lose(work, agreed, opened.last_counter)
        repairing.give_up_lost(work)
        repairing.overtaken(work, keeping.epoch_upto(work, agreed))
        work.change(starts_over=True)
    else:
        work.box = work.box.repairing((), opened.last_counter, work.box.last_message_counter)
        if record.highest_epoch >= 0:
            rejoins = record.phase is Phase.REJOINING
            repairing.overtaken(work, record.highest_epoch if rejoins else -1)
            work.change(starts_over=rejoins or record.starts_over)
    if work.pending is not None:
        work.set_pending(None)
    work.change(cursor=0, last_commit=min(record.last_commit, opened.last_commit))
    work.change(histories=histories, incarnation=opened.incarnation)


def _meet_outside(work: Work, opened: fr.Opened) -> None:
    """The relay does not count this device among the members: perhaps because it lost that it came in."""
    if work.record.cursor == 0:  # it knows that, and still waits
        _note(work, opened)
        return
    entered = work.record.entered
    has_spoken = any(passed.own for passed in keeping.passed_after(work, entered))
    if entered and (opened.last_counter < work.box.last_seen_counter or not has_spoken):
        # It may have come in anew since it was let in, which the relay lost as well.
        oldest = keeping.oldest(work)
        _repair(work, opened, min(opened.head, entered - 1 if oldest is None else oldest.seq - 1))
    else:
        # The relay has all that was said here: this device was removed.
        work.box.check_opened(opened.last_counter)
        _note(work, opened)


def _note(work: Work, opened: fr.Opened) -> None:
    work.change(histories=_histories(work, opened, lost=False), incarnation=opened.incarnation)


def _histories(work: Work, opened: fr.Opened, *, lost: bool) -> Histories:
    record = work.record
    return after_incarnation(
        record.histories, record.incarnation, opened.incarnation, at=int(work.now), lost=lost
    )
