"""Which things belong together, from pairs that do: connected components that keep some apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


class Components:
    """Numbers 0 to `count`, joined pair by pair; memory does not grow with the pairs."""

    def __init__(self, count: int) -> None:
        self._labels = np.arange(count)

    def join(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        """Join many pairs at once."""
        a, b = self._labels[first], self._labels[second]
        apart = a != b
        if not apart.any():
            return
        parent: dict[int, int] = {}

        def root(label: int) -> int:
            while (above := parent.get(label, label)) != label:
                parent[label] = parent.get(above, above)
                label = above
            return label

        pairs = np.unique(np.stack([a[apart], b[apart]], axis=1), axis=0)
        for low, high in pairs.tolist():
            one, other = sorted((root(low), root(high)))
            parent[other] = one
        names = np.arange(len(self._labels))
        for label in list(parent):
            names[label] = root(label)
        self._labels = names[self._labels]

    def labels(self) -> NDArray[np.int64]:
        """A name for each number, the same within a component."""
        return self._labels

    def groups(self) -> list[list[int]]:
        """Those with more than one member, by their least."""
        order = np.argsort(self._labels, kind="stable")
        cuts = np.flatnonzero(np.diff(self._labels[order])) + 1
        return [part.tolist() for part in np.split(order, cuts) if len(part) > 1]


def apart(
    members: Sequence[int], edges: Iterable[tuple[int, int]], marked: Iterable[tuple[int, int]]
) -> list[list[int]]:
    """Join `members` along `edges`, best first, but never two that are `marked`; the groups that result."""
    foes: dict[int, set[int]] = {member: set() for member in members}
    for first, second in marked:
        if first in foes and second in foes:
            foes[first].add(second)
            foes[second].add(first)
    group = {member: {member} for member in members}
    for first, second in edges:
        one, other = group[first], group[second]
        if one is other:
            continue
        if len(one) < len(other):
            one, other = other, one
        if any(foes[member] & one for member in other):
            continue
        one |= other
        for member in other:
            group[member] = one
    found = {id(one): sorted(one) for one in group.values()}
    return sorted(one for one in found.values() if len(one) > 1)
