"""Finds the words of a passage that a claim rests on."""

from retrieval.analysis import analyse
from retrieval.answering.sentences import Span, sentence_spans

LEAST_SHARED_TERMS = 2
LEAST_COVERAGE = 0.25
WORTH_A_SENTENCE = 0.15


def supporting_span(claim: str, text: str) -> Span:
    """(start, end) in `text` of the one or two sentences that share most terms with the claim.

    The whole text where nothing stands out: a claim in another language, or in other words.
    """
    wanted = set(analyse(claim))
    spans = sentence_spans(text)
    if not wanted or not spans:
        return 0, len(text)
    shared = [wanted & set(analyse(text[start:end])) for start, end in spans]
    best = max(range(len(spans)), key=lambda i: len(shared[i]))
    if len(shared[best]) < min(LEAST_SHARED_TERMS, len(wanted)):
        return 0, len(text)
    if len(shared[best]) < LEAST_COVERAGE * len(wanted):
        return 0, len(text)
    neighbours = [i for i in (best - 1, best + 1) if 0 <= i < len(spans)]
    added = max(neighbours, key=lambda i: len(shared[i] - shared[best]), default=best)
    if len(shared[added] - shared[best]) < max(2, WORTH_A_SENTENCE * len(wanted)):
        added = best
    return spans[min(best, added)][0], spans[max(best, added)][1]
