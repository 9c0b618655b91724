"""Why a candidate was taken and the others were not: the sentences of `explain`."""

from __future__ import annotations

from vkbackend.ops.base import Candidate
from vkbackend.plan import Alternative
from vkbackend.solution import Priced


def reason_of(price_us: float, priced: Priced) -> str:
    """One sentence: the cheapest alone, or worth its price for what it saves around it."""
    ways = len(priced.candidates)
    if ways == 1:
        return "the only way"
    cheapest = min(priced.costs_us)
    if price_us <= cheapest:
        return f"the cheapest of {ways} combinations of algorithm and layouts"
    best = priced.candidates[priced.costs_us.index(cheapest)]
    return (
        f"{price_us - cheapest:.1f} us dearer than {best.label} alone, "
        "but with its neighbours' layouts the cheapest in all"
    )


def alternatives_of(chosen: Candidate, price_us: float, priced: Priced) -> tuple[Alternative, ...]:
    """The same with other layouts, the best of every other algorithm and dot product, and what is
    not eligible at all.
    """
    admitted = {(c.algorithm, c.dot) for c in priced.candidates}
    found = [
        Alternative(other.label, cost, _why_not(cost, price_us, admitted=True))
        for cost, other in _next_layouts(chosen, priced)
    ]
    found += [
        Alternative(
            other.label,
            cost,
            _why_not(cost, price_us, admitted=(other.algorithm, other.dot) in admitted),
        )
        for cost, other in priced.offer.cheapest
        if (other.algorithm, other.dot) != (chosen.algorithm, chosen.dot)
    ]
    rejected = [Alternative(r.algorithm, None, r.reason) for r in priced.offer.options.rejected]
    return tuple(found + rejected)


def _next_layouts(chosen: Candidate, priced: Priced) -> list[tuple[float, Candidate]]:
    """The chosen way under the cheapest other layouts, where there are some."""
    others = [
        (cost, other)
        for cost, other in zip(priced.costs_us, priced.candidates, strict=True)
        if (other.algorithm, other.dot) == (chosen.algorithm, chosen.dot)
        and other.label != chosen.label
    ]
    return sorted(others, key=lambda entry: entry[0])[:1]


def _why_not(cost: float, price: float, *, admitted: bool) -> str:
    if cost == price:
        return "costs as much, and its neighbours' layouts decide"
    if cost < price and not admitted:
        return "the policy or a force rule excludes it"
    if cost < price:
        return "cheaper alone, dearer with the layouts that its neighbours would then have"
    return f"{cost / max(price, 1e-9):.2f} times the cost"
