"""Unknown names, with the nearest that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_MOST: Final = 5


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: "did you mean a, b or c?", or a few of the known ones, "" where there are none."""
    options = sorted(set(known))
    lowered = {option.lower(): option for option in options}
    near = [lowered[low] for low in difflib.get_close_matches(name.lower(), lowered, n=_MOST, cutoff=0.6)]
    inside = [option for option in options if name.lower() in option.lower()]
    near += [option for option in inside if option not in near][: max(0, _MOST - len(near))]
    if near:
        return f"did you mean {listed(near, 'or')}?"
    if not options:
        return ""
    more = f" and {len(options) - _MOST} more" if len(options) > _MOST else ""
    return f"there is {', '.join(options[:_MOST])}{more}"


def listed(names: Iterable[str], last: str = "and", most: int = _MOST) -> str:
    """`a, b and c`; beyond `most` names, how many more there are."""
    items = list(names)
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
