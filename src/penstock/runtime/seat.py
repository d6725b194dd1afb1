"""Where a slot is on stage: alone, or as a part of a pipeline."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import attrgetter

from penstock.kernel.errors import SlotTaken
from penstock.runtime.lease import Bundle
from penstock.runtime.loaded import Loaded
from penstock.runtime.shelf import Shelf
from penstock.runtime.stage import Stage


class Seat:
    """One slot's place on a stage; what its leases read.

    Attributes:
        shelf: the slot's versions.
        stage: where it swaps: its own stage, or the pipeline's.
        pointer: the stage's, one step nearer, since every lease reads it.
        joined: it belongs to a pipeline, for good.
    """

    __slots__ = ("joined", "name", "pointer", "shelf", "stage")

    def __init__(self, shelf: Shelf) -> None:
        self.name = shelf.name
        self.shelf = shelf
        self.joined = False
        self.move(Stage(shelf.name, [shelf]))

    def move(self, stage: Stage) -> None:
        """Take a place on another stage."""
        self.stage = stage
        self.pointer = stage.pointer

    def pick(self, bundle: Bundle) -> Loaded | None:
        """Return this slot's version in a bundle; None when it has none."""
        return bundle.loaded.get(self.shelf)

    def missing(self, _bundle: Bundle) -> str:
        """Return what a bundle lacks when `pick` finds nothing."""
        return self.name


@contextmanager
def holding(seat: Seat, lock_of: Callable[[Stage], threading.Lock]) -> Iterator[Stage]:
    """Hold a lock of the stage that a slot is on, though it may join a pipeline while we wait."""
    while True:
        stage = seat.stage
        with lock_of(stage):
            if stage is seat.stage:
                yield stage
                return


SWAPPING: Callable[[Stage], threading.Lock] = attrgetter("swapping")
LOCK: Callable[[Stage], threading.Lock] = attrgetter("lock")


def joined(name: str, seats: Sequence[Seat]) -> Stage:
    """Move slots onto one stage of their own, while requests run; wait for swaps that are under way.

    Raises SlotTaken when one of them belongs to a pipeline already, or comes twice.
    """
    if len(set(seats)) < len(seats):
        raise SlotTaken(slot=next(seat.name for seat in seats if seats.count(seat) > 1))
    together = Stage(name, [seat.shelf for seat in seats])
    with ExitStack() as locks:
        # One order for everybody, so that two pipelines in the making cannot wait for each other.
        for seat in sorted(seats, key=id):
            if not seat.joined:
                locks.enter_context(holding(seat, SWAPPING))
            if seat.joined:
                raise SlotTaken(slot=seat.name)
            locks.enter_context(seat.stage.lock)  # only who swaps may move it
        alone = [seat.stage for seat in seats]
        together.take_over(alone)
        for seat in seats:
            seat.joined = True
            seat.move(together)
        # Leases that still read the old pointers find nothing there, look again, and find the new one.
        for stage in alone:
            stage.leave()
    return together
