"""Whose ratings do not count: the post-screening of ITU-R BS.1534-3, section 4.1.2.

A listener is left out who rates the hidden reference below 90 on more than 15 % of the items, or the mid-range anchor
above 90 on more than 15 % of them. ACR ratings are screened by the P.808 toolkit with its gold and trapping questions
(ratings.py reads what it says), and ABX answers not at all: who hears no difference is right to guess.
"""

from collections.abc import Sequence

from evalkit.listening.kit import MIDDLE, REFERENCE
from evalkit.listening.ratings import Rating

BOUND, SHARE = 90.0, 0.15


def screened(ratings: Sequence[Rating]) -> dict[str, str]:
    """Why each listener is left out whose MUSHRA `ratings` break a rule; a listener who rated no hidden reference or
    anchor breaks none."""
    found = {}
    for listener in dict.fromkeys(one.listener for one in ratings):
        mine = [one for one in ratings if one.listener == listener]
        reference = [one.score < BOUND for one in mine if one.stimulus == REFERENCE]
        anchor = [one.score > BOUND for one in mine if one.stimulus == MIDDLE]
        if sum(reference) > SHARE * len(reference):
            found[listener] = f"hidden reference below 90 on {sum(reference)} of {len(reference)} items"
        elif sum(anchor) > SHARE * len(anchor):
            found[listener] = f"mid-range anchor above 90 on {sum(anchor)} of {len(anchor)} items"
    return found
