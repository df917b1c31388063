from __future__ import annotations

import pytest

from MedDetectLib.core import watch as watch_module
from MedDetectLib.core.errors import Cancelled
from MedDetectLib.core.watch import SILENT, Progress, Watch


@pytest.fixture
def clock(monkeypatch):
    """A stopwatch that goes on only when told."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(watch_module.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_each_item_is_yielded_once_with_progress_and_time_left(clock):
    heard = []
    seen = []
    for item in Watch(heard.append).each("abcd", "work"):
        seen.append(item)
        clock.now += 2.0
    assert seen == list("abcd")
    assert heard == [
        Progress("work", 0.0, None),
        Progress("work", 0.25, 6.0),
        Progress("work", 0.5, 4.0),
        Progress("work", 0.75, 2.0),
        Progress("work", 1.0, 0.0),
    ]


def test_nothing_to_do_is_reported_as_done():
    heard = []
    assert list(Watch(heard.append).each([], "work")) == []
    assert heard == [Progress("work", 1.0, 0.0)]


def test_a_stop_request_ends_the_work_before_the_next_item():
    done = []
    watch = Watch(should_stop=lambda: len(done) == 2)
    with pytest.raises(Cancelled):
        done.extend(watch.each(range(9), "work"))
    assert done == [0, 1]


def test_a_stop_request_is_heard_before_and_after_a_stage():
    stop = []
    heard = []
    watch = Watch(heard.append, lambda: bool(stop))
    with pytest.raises(Cancelled), watch.stage("one"):
        stop.append(1)
    assert heard == [Progress("one", 0.0)]
    with pytest.raises(Cancelled), watch.stage("two"):
        pytest.fail("the stage must not begin")


def test_a_stage_is_reported_and_timed(clock):
    heard = []
    watch = Watch(heard.append)
    for seconds in (1.5, 2.0):
        with watch.stage("one"):
            clock.now += seconds
    assert watch.seconds == {"one": 3.5}
    assert [(p.stage, p.fraction) for p in heard] == [("one", 0.0), ("one", 1.0)] * 2


def test_time_is_counted_even_when_a_stage_fails(clock):
    watch = Watch()

    def fail():
        with watch.timed("one"):
            clock.now += 4.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert watch.seconds == {"one": 4.0}


def test_a_fresh_watch_listens_alike_and_counts_from_zero(clock):
    heard = []
    watch = Watch(heard.append, lambda: False)
    with watch.timed("one"):
        clock.now += 1
    fresh = watch.fresh()
    assert fresh.seconds == {}
    assert (fresh.on_progress, fresh.should_stop) == (watch.on_progress, watch.should_stop)


def test_the_silent_watch_never_stops_anything():
    assert list(SILENT.each([1, 2], "work")) == [1, 2]
    SILENT.check()
