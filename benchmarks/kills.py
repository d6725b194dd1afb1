"""Kill -9 of the control plane and of model servers at seeded random moments, while one component goes out and back."""

import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from benchmarks.table import Row, options, report, row
from tests.end_to_end.killing import Kill, Killer, Victim
from tests.end_to_end.stage import Stage

#: A new stage now and then, with this many servers in turn. A lone server, which serves both arms, is not killed itself.
_KILLS_A_STAGE, _N_SERVERS = 25, (3, 2, 1)


@dataclass
class _Seen:
    """Over all stages; the numbers are of requests."""

    kills: list[Kill] = field(default_factory=list)
    n: int = 0
    n_cut: int = 0
    n_failed: int = 0
    n_mixed: int = 0
    n_quarantined: int = 0
    n_misnamed: int = 0

    def add(self, killer: Killer) -> None:
        cut, failed = killer.failed()
        self.n += len(killer.load.requests)
        self.n_cut += len(cut)
        self.n_failed += len(failed)
        self.n_mixed += len(killer.mixed())
        self.n_quarantined += killer.n_quarantined
        self.n_misnamed += len(killer.misnamed())


def kills(n: int, seed: int) -> _Seen:
    """Kill n times, and return what was seen."""
    rng, seen = np.random.default_rng(seed), _Seen()
    for number in range(-(-n // _KILLS_A_STAGE)):
        stage = Stage()
        try:
            killer = Killer(stage, rng, _N_SERVERS[number % len(_N_SERVERS)])
            try:
                for _ in range(min(_KILLS_A_STAGE, n - len(seen.kills))):
                    seen.kills.append(killer.kill())
                    _show(seen.kills, n)
            finally:
                killer.close()
            seen.add(killer)
        finally:
            stage.close()
    return seen


def main() -> int:
    """Kill, print the table, return the exit code."""
    asked = options(__doc__ or "", kills=200, seed=1)
    seen = kills(10 if asked.quick else asked.kills, asked.seed)
    rows: list[Row] = [
        row("wrong states, lost entries or versions", [len(kill.wrong) for kill in seen.kills], "", "== 0", of="sum"),
        row("answers made by several sets of versions", [seen.n_mixed], f"of {seen.n}", "== 0", of="sum"),
        row("answers of a version rolled back from", [seen.n_quarantined], f"of {seen.n}", "== 0", of="sum"),
        row("failed requests", [seen.n_failed], f"of {seen.n}", "== 0", of="sum"),
        row("failed while under way at a killed server", [seen.n_cut], f"of {seen.n}", of="sum"),
        row("answers of other versions than their release has", [seen.n_misnamed], f"of {seen.n}", of="sum"),
    ]
    for victim in Victim:
        mended_s = [kill.mended_s for kill in seen.kills if kill.victim is victim]
        rows += [row(f"all at one after a kill of a {victim}", mended_s, "s")] if mended_s else []
    moments = Counter(f"{kill.victim} killed {kill.moment}" for kill in seen.kills)
    rows += [row(moment, [n], "kills", of="sum") for moment, n in sorted(moments.items())]
    return report(f"kill -9 during releases and rollbacks of a component, seed {asked.seed}", rows, asked.json)


def _show(done: list[Kill], n: int) -> None:
    """Keep a bar on stderr, and a line for every kill after which something was wrong."""
    if done[-1].wrong:
        print(f"\r{done[-1]}", file=sys.stderr)
    bar = "#" * (30 * len(done) // n)
    print(f"\r  [{bar:<30}] {len(done)} of {n} kills", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
