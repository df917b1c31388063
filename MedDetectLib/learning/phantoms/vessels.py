"""Branching trees: vessels that fill an organ and taper towards its edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from MedDetectLib.learning.phantoms.shapes import Points, Tube

__all__ = ["Tree", "grow_tree"]


@dataclass(frozen=True, eq=False)
class Tree:
    """A rooted tree of points in RAS mm.

    Args:
        points: (n, 3); the root is first, a parent always comes before its children.
        parents: (n,); -1 for the root.
        radii_mm: (n,) radius of the branch that ends at each point.
    """

    points: Points
    parents: npt.NDArray[np.int64]
    radii_mm: npt.NDArray[np.float64]

    def tubes(self, thinner_than_mm: float = np.inf, thicker_than_mm: float = 0.0) -> list[Tube]:
        """Return the branches within a range of radii, as tubes."""
        chosen = []
        for n in range(1, len(self.points)):
            parent = int(self.parents[n])
            r1 = float(self.radii_mm[n])
            r0 = min(float(self.radii_mm[parent]), 1.25 * r1)
            if thicker_than_mm <= r1 < thinner_than_mm:
                chosen.append((self.points[parent], self.points[n], r0, r1))
        return chosen


def grow_tree(
    rng: np.random.Generator, root: npt.ArrayLike, targets: Points, leaf_radius_mm: float
) -> Tree:
    """Grow a tree from `root` that reaches every target.

    Targets are joined nearest first, each to the point of the tree that makes a short
    branch and a short way back to the root; branches are bent a little. Radii follow
    Murray's law (r^2.7 adds up where branches meet).

    Args:
        rng: bends the branches.
        root: (3,) RAS mm.
        targets: (n, 3) RAS mm, where the twigs end.
        leaf_radius_mm: radius of a twig.
    """
    start = np.asarray(root, float)
    order = np.argsort(((targets - start) ** 2).sum(axis=1), kind="stable")
    points, parents, lengths = [start], [-1], [0.0]
    for target in targets[order]:
        known = np.array(points)
        near = np.linalg.norm(known - target, axis=1)
        parent = int((near + 0.35 * np.array(lengths)).argmin())
        pieces = max(1, int(near[parent] // 9))
        origin, span = points[parent], target - points[parent]
        bend = rng.normal(size=3) * 0.12 * near[parent]
        for piece in range(1, pieces + 1):
            t = piece / pieces
            point = origin + t * span + 4 * t * (1 - t) * bend
            lengths.append(lengths[parent] + float(np.linalg.norm(point - points[parent])))
            points.append(point)
            parents.append(parent)
            parent = len(points) - 1
    load = np.zeros(len(points))
    children = np.bincount(np.array(parents[1:]), minlength=len(points))
    for n in range(len(points) - 1, 0, -1):
        load[n] += 1.0 if children[n] == 0 else 0.0
        load[parents[n]] += load[n]
    radii = leaf_radius_mm * np.maximum(load, 1.0) ** (1 / 2.7)
    return Tree(np.array(points), np.array(parents, dtype=np.int64), radii)
