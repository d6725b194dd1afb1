"""`penstock simulate`: what a plan would do with this traffic, before anything is shipped."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asked import plan_asked, seconds_asked
from penstock.cli.exit_codes import ExitCode
from penstock.cli.options import TABLE, Output, Quiet
from penstock.cli.releasing import Bake, Dwell, LongestStall, MinRequests, OnFailure, PlanFile, Steps
from penstock.cli.terminal import Terminal
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.simulation.release import Told
    from penstock.simulation.traffic import Fault, Traffic

_PODS = re.compile(r"(\d{1,6})\+(\d{1,6})")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_PLOTS = (".png", ".svg")

Rate = Annotated[float, typer.Option("--rate", metavar="N", help="Requests per second, both versions together.")]
Pods = Annotated[str, typer.Option("--pods", metavar="N+N", help="Servers of the canary and of stable.")]
UsersOption = Annotated[int, typer.Option("--users", metavar="N", help="Distinct users who send them.")]
Errors = Annotated[str, typer.Option("--errors", metavar="P%", help="Requests that fail on a good version.")]
P95 = Annotated[str, typer.Option("--p95", metavar="T", help="Its 95th percentile of the time to the first byte.")]
Stalls = Annotated[
    str,
    typer.Option(
        "--stalls",
        metavar="none|5s|geo10|geo20|u60",
        help="How long a healthy server hangs, every ten minutes on average.",
    ),
]
With = Annotated[
    str, typer.Option("--with", metavar="C,C,...", help="What else goes on: day, bursts, bad-users, warm-up.")
]
Releases = Annotated[
    int, typer.Option("--releases", metavar="N", help="Releases of a healthy version; of each fault a quarter.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of all chance; the same seed gives the same answer.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it into a .png or .svg file.")]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", help="Processes at once; else one for each core.")]


def simulate(
    *,
    rate: Rate = 50.0,
    pods: Pods = "1+1",
    users: UsersOption = 5000,
    errors: Errors = "0.2%",
    p95: P95 = "450ms",
    stalls: Stalls = "none",
    conditions: With = "",
    steps: Steps = None,
    dwell: Dwell = None,
    bake: Bake = None,
    longest_stall: LongestStall = None,
    min_requests: MinRequests = None,
    on_failure: OnFailure = None,
    plan: PlanFile = None,
    releases: Releases = 200,
    seed: Seed = 1,
    plot: Plot = None,
    jobs: Jobs = None,
    output: Output = TABLE,
    quiet: Quiet = False,
) -> int:
    """Try a plan on simulated releases before shipping: faults found, users who meet them, false rollbacks.

    Nothing is contacted and nothing is changed. The judge and the decisions are those of a real release.
    """
    times = {"dwell": dwell, "bake": bake, "longest_stall": longest_stall}
    wanted = plan_asked(plan, {"steps": steps, "min_requests": min_requests, "on_failure": on_failure, **times})
    _check(releases=releases, seed=seed, jobs=jobs)
    file = _plot_file(plot)
    traffic = _traffic(rate, pods, users, errors, p95, stalls, conditions)
    terminal = Terminal(output, quiet)
    told, complete = _told(traffic, wanted, releases=releases, seed=seed, jobs=jobs, terminal=terminal)
    answer = _answer(traffic, wanted, told, releases=releases, seed=seed, complete=complete)
    from penstock.cli import forecast  # noqa: PLC0415 - only here

    terminal.answer(answer, forecast.lines(answer))
    if file is not None and told:
        _draw(file, forecast.headline(answer), told, terminal)
    return ExitCode.OK if complete else ExitCode.INTERRUPTED


def _draw(file: Path, headline: str, told: dict["Fault", list["Told"]], terminal: Terminal) -> None:
    from penstock.cli.forecast_plot import draw  # noqa: PLC0415 - matplotlib takes its time

    try:
        draw(file, headline, told)
    except OSError as error:
        raise UsageError(detail=f"--plot {str(file)!r} cannot be written: {error.strerror}.") from None
    terminal.remark(f"plot: {file}")


def _told(
    traffic: "Traffic", plan: dict[str, Any], *, releases: int, seed: int, jobs: int | None, terminal: Terminal
) -> tuple[dict["Fault", list["Told"]], bool]:
    """Return how the releases of each fault went, and whether all were simulated; Ctrl-C ends it early."""
    from penstock.cli.pool import Pool  # noqa: PLC0415 - `penstock --help` must not pay for it
    from penstock.rollout.plan import plan_from  # noqa: PLC0415 - as above
    from penstock.simulation.menu import faults  # noqa: PLC0415 - as above
    from penstock.simulation.menu import jobs as work  # noqa: PLC0415 - as above

    told: dict[Fault, list[Told]] = {fault: [] for fault in faults(traffic)}
    with Pool(list(work(traffic, plan_from(plan), n_releases=releases, seed=seed)), jobs, terminal) as pool:
        try:
            for job, some in pool.results():
                told[job.scenario.fault] += some
        except KeyboardInterrupt:
            terminal.remark("interrupted; this is what is known so far")
            return {fault: some for fault, some in told.items() if some}, False
    return told, True


def _answer(
    traffic: "Traffic",
    plan: dict[str, Any],
    told: dict["Fault", list["Told"]],
    *,
    releases: int,
    seed: int,
    complete: bool,
) -> dict[str, Any]:
    from penstock.rollout.plan import plan_from  # noqa: PLC0415 - `penstock --help` must not pay for it
    from penstock.simulation.release import FINE_S, Scenario  # noqa: PLC0415 - as above
    from penstock.simulation.summary import row  # noqa: PLC0415 - as above

    scenario = Scenario(traffic, plan_from(plan))
    return {
        "traffic": traffic.as_json(),
        "plan": plan,
        "planned_s": scenario.planned_s,
        "releases": releases,
        "seed": seed,
        "tick_s": [FINE_S, scenario.tick_s],
        "longest_s": scenario.longest_s,
        "complete": complete,
        "faults": [row(fault, some) for fault, some in told.items()],
    }


def _traffic(rate: float, pods: str, users: int, errors: str, p95: str, stalls: str, conditions: str) -> "Traffic":
    from penstock.simulation.traffic import Condition, Traffic  # noqa: PLC0415 - `penstock --help` must not pay for it

    counted, share = _PODS.fullmatch(pods.strip()), _PERCENT.fullmatch(errors.strip())
    if counted is None:
        raise UsageError(detail=f"--pods {pods!r} is not canary+stable, e.g. 2+4.")
    if share is None:
        raise UsageError(detail=f"--errors {errors!r} is not a percentage, e.g. 0.2%.")
    if p95.strip().replace(".", "", 1).isdigit():
        raise UsageError(detail=f"--p95 {p95!r} has no unit; write 450ms or 1.2s.")
    words = [word.strip() for word in conditions.split(",") if word.strip()]
    if unknown := [word for word in words if word not in set(Condition)]:
        raise UsageError(detail=f"--with {unknown[0]!r} is not known; there are {', '.join(Condition)}.")
    try:
        return Traffic(
            rate_hz=rate,
            n_canary_pods=int(counted[1]),
            n_stable_pods=int(counted[2]),
            n_users=users,
            errors_ratio=float(share[1]) / 100.0,
            p95_ms=1000.0 * seconds_asked(p95, "--p95"),
            stalls=stalls,
            conditions=frozenset(map(Condition, words)),
        )
    except ValueError as error:
        raise UsageError(detail=f"{error}.") from None


def _check(*, releases: int, seed: int, jobs: int | None) -> None:
    wanted: Sequence[tuple[str, int, int, int]] = (
        ("--releases", releases, 1, 100_000),
        ("--seed", seed, 0, 2**32 - 1),
        ("--jobs", 1 if jobs is None else jobs, 1, 512),
    )
    for option, value, low, high in wanted:
        if not low <= value <= high:
            raise UsageError(detail=f"{option} {value} is out of range; use a number from {low} to {high}.")


def _plot_file(file: Path | None) -> Path | None:
    """Return where to draw, once it is certain that it can be done: nobody waits a minute for an error."""
    if file is None:
        return None
    if file.suffix.lower() not in _PLOTS:
        raise UsageError(detail=f"--plot {str(file)!r} is no picture that can be drawn; end it in .png or .svg.")
    if not file.absolute().parent.is_dir():
        raise UsageError(detail=f"--plot {str(file)!r}: there is no folder {file.absolute().parent}; make it first.")
    from importlib.util import find_spec  # noqa: PLC0415 - only here

    if find_spec("matplotlib") is None:
        from penstock.kernel.errors import ExtraMissing  # noqa: PLC0415 - only here

        raise ExtraMissing(what="--plot", package="matplotlib", extra="report")
    return file
