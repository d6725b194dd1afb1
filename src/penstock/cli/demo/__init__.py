"""`penstock demo`: a bad voice is rolled back and a good one promoted, under load, on this machine, in about a minute.

Everything runs as a user would run it: speech servers, `penstock up` and `penstock release` are processes of their own,
and what the demo tells is what its load measured from outside and what the journal says. Rooms in here: `story` (the
order of events), `processes` and `servers` (what is started), `load` and `watching` (what is observed), `recording` (what
is kept of it), `timeline` (arithmetic on it, pure), `words`, `plots` and `page` (how it is shown). Nothing in here decides
about traffic.
"""

from collections.abc import Callable
from pathlib import Path

__all__ = ["run_demo"]


def run_demo(report: Path, say: Callable[[str], None]) -> int:
    """Run the demo and write `report/report.html`; return 0 when 2.0.1 was rolled back and 1.6.0 promoted.

    Takes about a minute. `say` gets one line at a time. Raises ExtraMissing before anything is started, and DemoFailed
    when it did not go as it must; whatever was started is stopped again in every case.
    """
    from penstock.cli.demo.story import tell  # noqa: PLC0415 - `penstock --help` must not pay for it

    return tell(report, say)
