"""Whether a version of an index may serve: one decision over all that was measured of it.

Not being worse is shown by non-inferiority: the 95 % interval of the mean difference over the same questions
must lie above minus a margin. Piaggio et al. (2012), "Reporting of Noninferiority and Equivalence Randomized
Trials", JAMA 308(24).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrieval.rollout import latency
from retrieval.tuning import Interval

Z = 1.645  # one-sided, 1 in 20: looked at once


@dataclass(frozen=True)
class Limits:
    """What is asked of a version."""

    recall: float = 0.97
    margin: float = 0.03
    least_questions: int = 20
    overlap: float = 0.9
    waiting: float = 0.01
    off_unit: float = 0.01
    slower: float = 1.3
    unnoticed_ms: float = 50.0


@dataclass(frozen=True)
class Rows:
    """The chunks of one collection: those with the right vector, those that wait for it, those with neither.

    `strays` are vectors of no chunk that is there, `uncut` documents that lack chunks.
    """

    collection: int
    chunks: int
    right: int
    waiting: int
    lost: int
    strays: int = 0
    uncut: int = 0


@dataclass(frozen=True)
class Vectors:
    """Stored vectors: zero ones, ones with a number that is none, and the shortest and longest length."""

    count: int
    zeros: int = 0
    not_numbers: int = 0
    shortest: float = 1.0
    longest: float = 1.0


@dataclass(frozen=True)
class Compared:
    """Both versions on the same `questions`: means of each, and the difference, candidate less live."""

    questions: int
    ndcg: tuple[float, float]
    recall: tuple[float, float]
    ndcg_difference: Interval
    recall_difference: Interval


@dataclass(frozen=True)
class Measured:
    """All that is known of a version. `recall` is that of its graph against comparing all, in 0..1.

    `compared` is None where no question was judged; `overlap` is how much of the first ten results both
    versions share then. None: not measured, since there is nothing to measure it with. `lost_arms`: searches
    of the candidate, and of the live version, that one arm answered because the other failed. `alone`: nothing
    is live that it could be compared with.
    """

    rows: Sequence[Rows]
    vectors: Vectors
    recall: float | None = None
    compared: Compared | None = None
    overlap: float | None = None
    candidate_ms: Sequence[float] = ()
    live_ms: Sequence[float] = ()
    lost_arms: tuple[int, int] = (0, 0)
    alone: bool = False


@dataclass(frozen=True)
class Check:
    """One question put to a version; `reason` says what was found, whether it passed or not."""

    name: str
    passed: bool
    reason: str


def checks(measured: Measured, limits: Limits | None = None) -> tuple[Check, ...]:
    """A version may serve if all of them passed."""
    limits = limits or Limits()
    each: tuple[Callable[[Measured, Limits], Check], ...] = (rows, vectors, recall, arms, quality, speed)
    return tuple(check(measured, limits) for check in each)


def rows(measured: Measured, limits: Limits) -> Check:
    chunks, lost, waiting, strays, uncut = (
        sum(getattr(each, name) for each in measured.rows)
        for name in ("chunks", "lost", "waiting", "strays", "uncut")
    )
    wrong = [
        *([f"{uncut:,} documents have no chunks there, or not all"] if uncut else []),
        *([f"{lost:,} of {chunks:,} chunks have neither a vector nor a job"] if lost else []),
        *([f"{strays:,} vectors are of no chunk"] if strays else []),
        *([f"{waiting:,} of {chunks:,} chunks still wait"] if waiting > limits.waiting * chunks else []),
    ]
    said = "; ".join(wrong) or f"All {chunks:,} chunks have their vector or are about to."
    return Check("rows", not wrong, said)


def vectors(measured: Measured, limits: Limits) -> Check:
    found = measured.vectors
    wrong = [
        *([f"{found.zeros:,} vectors are zero"] if found.zeros else []),
        *([f"{found.not_numbers:,} hold a number that is none"] if found.not_numbers else []),
    ]
    if found.count and max(1 - found.shortest, found.longest - 1) > limits.off_unit:
        wrong.append(f"lengths go from {found.shortest:.3f} to {found.longest:.3f} instead of 1")
    said = "; ".join(wrong) or f"All {found.count:,} vectors are of length 1."
    return Check("vectors", not wrong, said)


def recall(measured: Measured, limits: Limits) -> Check:
    if measured.recall is None:
        empty = not measured.vectors.count
        return Check("recall", empty, "There is nothing to find." if empty else "The graph was not tried.")
    said = (
        f"The graph finds {measured.recall:.1%} of the ten nearest; at least {limits.recall:.0%} are wanted."
    )
    return Check("recall", measured.recall >= limits.recall, said)


def arms(measured: Measured, limits: Limits) -> Check:  # noqa: ARG001 (asked as the others are)
    """By words alone any version looks like the live one."""
    lost, live = measured.lost_arms
    said = f"{lost:,} searches lost an arm" if lost else "No search lost an arm"
    beside = f", with the live version {live:,}" if live else ""
    return Check("arms", not lost, f"{said}{beside}.")


def quality(measured: Measured, limits: Limits) -> Check:
    """By judged questions where there are enough; else only a version that finds the same may go on."""
    found = measured.compared
    if found is not None and found.questions >= limits.least_questions:
        worse = [
            f"{name} {interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
            for name, interval in (
                ("nDCG@10", found.ndcg_difference),
                ("Recall@10", found.recall_difference),
            )
            if interval.low <= -limits.margin
        ]
        if worse:
            return Check(
                "quality", False,
                f"On {found.questions} judged questions it may be worse by {limits.margin:g} or more: "
                f"{', '.join(worse)}.",
            )  # fmt: skip
        return Check(
            "quality", True,
            f"On {found.questions} judged questions nDCG@10 is {found.ndcg[0]:.3f} after {found.ndcg[1]:.3f}, and "
            f"surely not worse by {limits.margin:g}.",
        )  # fmt: skip
    if measured.alone:
        return Check("quality", True, "Nothing is live that it could be worse than.")
    if measured.overlap is None:
        empty = not measured.vectors.count
        return Check("quality", empty, "There is nothing to find." if empty else "Nothing was asked of it.")
    alike = f"{measured.overlap:.0%} of the first ten results are those of the live version"
    if measured.overlap >= limits.overlap:
        return Check("quality", True, f"{alike}.")
    judged = found.questions if found else 0
    return Check(
        "quality", False,
        f"{alike}, and {judged} judged questions cannot say which are better: make a question set of at least "
        f"{limits.least_questions}, or override with a reason.",
    )  # fmt: skip


def speed(measured: Measured, limits: Limits) -> Check:
    found = latency(measured.candidate_ms, measured.live_ms, limits.slower, z=Z)
    if found.candidate is None or found.live is None:
        return Check("speed", True, "There was nothing to time.")
    said = f"95 % of the searches take up to {found.candidate:.0f} ms, with the live version {found.live:.0f} ms."
    return Check("speed", not (found.broken and found.candidate > limits.unnoticed_ms), said)
