"""Rounds: does a failure follow the request, or the machine? Replays of recorded requests settle it.

In one round the suspect F (it failed on the canary before) and the control P (it passed there) are replayed within
moments and in random order: F on the canary, F on stable, P on the same canary pod.

Null hypothesis: what fails F is a stall of the pod, or F itself, not the version:
P(F fails on canary) <= P(F fails on stable) + P(P fails on canary).

    g = 1{F fails on canary} - 1{F fails on stable} - 1{P fails on canary};  wealth *= 1 + lam * g,  0 < lam < 1/2

Proof: F and P are chosen from past rounds only, and their positions are exchangeable given everything but the order, so a
stall, or any cause that does not look at the version, hits F's position on the canary as likely as P's; a request that is
hard for both versions fails F on stable as likely as on the canary. By the union bound over the two causes E[g | past] <= 0,
hence E[1 + lam g | past] <= 1; as g >= -2 every factor is positive. A weighted average over lam stays an e-process, and
Ville's inequality holds at every look. Dependence between rounds does no harm: only the conditional mean is used.
A stall alone cannot win: whatever fails F and P together, or F on both arms, never raises the wealth.
Source: derived here; Ville's inequality and betting as JUDGE.md 2; the fact about the version is issue 2's.
"""

import math

from penstock.judge.counts import Round

#: (bet, its share of the wealth). 1/2 is the limit for a positive factor; the small bet is for rounds with many
#: failures of the control. Source: 16 clear rounds earn .75 * 1.49^16 + .25 * 1.2^16 = 447 >= 333 (see Limits).
_BETS = ((0.49, 0.75), (0.2, 0.25))

#: As in betting: more is not read out.
_READ_OUT_NATS = 60.0


class RoundEvidence:
    """The wealth of all rounds so far."""

    def __init__(self) -> None:
        self._log_wealth = [0.0] * len(_BETS)
        self.n_rounds = 0
        #: Rounds in which nothing but the suspect on the canary failed.
        self.n_clear = 0

    @property
    def evidence(self) -> float:
        """The e-value, >= 0; 1 before the first round."""
        pairs = zip(_BETS, self._log_wealth, strict=True)
        return sum(share * math.exp(min(wealth, _READ_OUT_NATS)) for (_, share), wealth in pairs)

    def observe(self, outcome: Round) -> None:
        """Bet on one round."""
        gain = (
            int(outcome.suspect_fails_on_canary)
            - int(outcome.suspect_fails_on_stable)
            - int(outcome.control_fails_on_canary)
        )
        for index, (bet, _) in enumerate(_BETS):
            self._log_wealth[index] += math.log1p(bet * gain)
        self.n_rounds += 1
        self.n_clear += gain == 1
