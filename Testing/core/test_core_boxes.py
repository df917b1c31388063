from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedDetectLib.core.boxes import Boxes, box_iou
from MedDetectLib.core.errors import InputError

GRID = 8


@st.composite
def integer_boxes(draw, most=8):
    rows = []
    for _ in range(draw(st.integers(1, most))):
        low = [draw(st.integers(0, GRID - 1)) for _ in range(3)]
        rows.append(low + [draw(st.integers(a + 1, GRID)) for a in low])
    return np.array(rows, float)


def painted(box):
    k0, j0, i0, k1, j1, i1 = box.astype(int)
    grid = np.zeros((GRID,) * 3, bool)
    grid[k0:k1, j0:j1, i0:i1] = True
    return grid


def iou_by_hand(a, b):
    shared = 1.0
    for axis in range(3):
        shared *= max(0.0, min(a[axis + 3], b[axis + 3]) - max(a[axis], b[axis]))
    size = [np.prod(box[3:] - box[:3]) for box in (a, b)]
    return shared / (size[0] + size[1] - shared)


def naive_nms(edges, scores, labels, iou_above):
    kept = []
    for n in sorted(range(len(scores)), key=lambda n: (-scores[n], n)):
        rivals = (m for m in kept if labels[m] == labels[n])
        if all(iou_by_hand(edges[n], edges[m]) <= iou_above for m in rivals):
            kept.append(n)
    return kept


def naive_fusion(edges, scores, labels, iou_above):
    clusters = []
    for n in sorted(range(len(scores)), key=lambda n: (-scores[n], n)):
        best, home = iou_above, None
        for cluster in clusters:
            members = cluster["members"]
            mean = sum(edges[m] * scores[m] for m in members) / sum(scores[m] for m in members)
            overlap = iou_by_hand(edges[n], mean)
            if cluster["label"] == labels[n] and overlap > best:
                best, home = overlap, cluster
        if home is None:
            clusters.append({"label": labels[n], "members": [n]})
        else:
            home["members"].append(n)
    return clusters


@given(integer_boxes(), integer_boxes())
def test_overlap_is_what_counting_voxels_gives(first, second):
    table = box_iou(first, second)
    assert table.shape == (len(first), len(second))
    for n, a in enumerate(first):
        for m, b in enumerate(second):
            shared, union = painted(a) & painted(b), painted(a) | painted(b)
            assert table[n, m] == pytest.approx(shared.sum() / union.sum())


def test_boxes_that_only_touch_do_not_overlap():
    assert box_iou(np.array([[0, 0, 0, 1, 1, 1.0]]), np.array([[0, 0, 1, 1, 1, 2.0]]))[0, 0] == 0


scored = st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.5, 0.9, 1.0]), min_size=12, max_size=12)
classes = st.lists(st.integers(1, 3), min_size=12, max_size=12)
limits = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75])


@given(integer_boxes(12), scored, classes, limits)
def test_suppression_keeps_what_comparing_every_pair_keeps(edges, scores, labels, limit):
    scores, labels = np.array(scores[: len(edges)]), np.array(labels[: len(edges)])
    kept = naive_nms(edges, scores, labels, limit)
    result = Boxes(edges, scores, labels).suppressed(limit)
    np.testing.assert_array_equal(result.edges, edges[kept])
    np.testing.assert_array_equal(result.scores, scores[kept])
    np.testing.assert_array_equal(result.labels, labels[kept])


@given(integer_boxes(12), scored, classes, limits)
def test_fusion_gives_what_the_paper_says_member_by_member(edges, scores, labels, limit):
    scores, labels = np.array(scores[: len(edges)]), np.array(labels[: len(edges)])
    clusters = naive_fusion(edges, scores, labels, limit)
    result = Boxes(edges, scores, labels).fused(limit)
    assert len(result) == len(clusters)
    for n, cluster in enumerate(clusters):
        members = cluster["members"]
        mean = np.average(edges[members], axis=0, weights=scores[members])
        np.testing.assert_allclose(result.edges[n], mean, atol=1e-9)
        assert result.scores[n] == max(scores[members])
        assert result.labels[n] == cluster["label"]


def test_fusion_of_two_boxes_by_hand():
    boxes = Boxes(
        np.array([[0, 0, 0, 4, 4, 4], [0, 0, 1, 4, 4, 5], [0, 0, 0, 4, 4, 4], [9] * 3 + [10] * 3]),
        np.array([0.9, 0.3, 0.6, 0.2]),
        np.array([1, 1, 2, 1]),
    )
    fused = boxes.fused(0.5)  # the first two share 48 of 80 voxels: IoU 0.6
    np.testing.assert_allclose(
        fused.edges,
        [[0, 0, 0.25, 4, 4, 4.25], [0, 0, 0, 4, 4, 4], [9, 9, 9, 10, 10, 10]],
    )
    np.testing.assert_allclose(fused.scores, [0.9, 0.6, 0.2])
    assert fused.labels.tolist() == [1, 2, 1]


def test_fusion_takes_boxes_whose_score_is_zero():
    boxes = Boxes(np.array([[0, 0, 0, 2, 2, 2.0]] * 3), np.zeros(3), np.ones(3, int))
    fused = boxes.fused(0.5)
    np.testing.assert_allclose(fused.edges, [[0, 0, 0, 2, 2, 2]])
    assert fused.scores.tolist() == [0.0]


def test_an_overlap_of_exactly_the_limit_is_not_above_it():
    edges = np.array([[0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 3.0]])  # IoU 1/3
    boxes = Boxes(edges, np.array([0.9, 0.8]), np.array([1, 1]))
    assert len(boxes.suppressed(1 / 3)) == 2
    assert len(boxes.suppressed(1 / 3 - 1e-9)) == 1
    assert len(boxes.fused(1 / 3)) == 2
    assert len(boxes.fused(1 / 3 - 1e-9)) == 1


def test_boxes_of_two_classes_never_suppress_or_fuse_each_other():
    same = np.array([[1, 1, 1, 3, 3, 3.0]] * 2)
    boxes = Boxes(same, np.array([0.4, 0.9]), np.array([1, 2]))
    assert boxes.suppressed(0.0).labels.tolist() == [2, 1]
    assert boxes.fused(0.0).labels.tolist() == [2, 1]


def test_equal_scores_keep_their_order():
    edges = np.array([[n, 0, 0, n + 1, 1, 1.0] for n in range(6)])
    boxes = Boxes(edges, np.full(6, 0.5), np.ones(6, int))
    np.testing.assert_array_equal(boxes.suppressed(0.5).edges, edges)
    np.testing.assert_array_equal(boxes.fused(0.5).edges, edges)


def test_clipping_cuts_at_the_grid_and_drops_what_lies_outside():
    boxes = Boxes(
        np.array(
            [
                [-1, 1, 1, 2, 3, 9],
                [5, 1, 1, 6, 3, 3],  # begins where the grid ends
                [-3, 1, 1, 0, 3, 3],  # ends where the grid begins
                [1, 1, 1, 2.5, 2, 2],
            ]
        ),
        np.array([0.1, 0.2, 0.3, 0.4]),
        np.array([1, 2, 3, 4]),
    ).clipped((5, 6, 7))
    np.testing.assert_array_equal(boxes.edges, [[0, 1, 1, 2, 3, 7], [1, 1, 1, 2.5, 2, 2]])
    assert boxes.labels.tolist() == [1, 4]
    assert boxes.scores.tolist() == [0.1, 0.4]


def test_no_boxes_at_all_pass_through_everything():
    none = Boxes.empty()
    for result in (
        none.suppressed(0.5),
        none.fused(0.5),
        none.clipped((1, 1, 1)),
        Boxes.concatenate([]),
        Boxes.concatenate([none, none]),
    ):
        assert len(result) == 0
        assert result.edges.shape == (0, 6)


BAD = {
    "lengths differ": (np.ones((2, 6)), [0.5], [1]),
    "not six edges": ([[0, 0, 0, 1, 1]], [0.5], [1]),
    "six in another shape": (np.arange(12.0).reshape(3, 4), [0.5, 0.5], [1, 1]),
    "NaN edge": ([[0, 0, 0, 1, 1, np.nan]], [0.5], [1]),
    "infinite score": ([[0, 0, 0, 1, 1, 1]], [np.inf], [1]),
    "no extent": ([[0, 0, 0, 1, 1, 0]], [0.5], [1]),
    "inside out": ([[0, 0, 2, 1, 1, 1]], [0.5], [1]),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_boxes_are_refused(name):
    edges, scores, labels = BAD[name]
    with pytest.raises(InputError) as caught:
        Boxes(np.array(edges, float), np.array(scores), np.array(labels))
    assert caught.value.code == "bad-boxes"


def test_boxes_keep_their_own_copy():
    edges = np.array([[0, 0, 0, 1, 1, 1.0]])
    boxes = Boxes(edges, np.array([0.5]), np.array([1]))
    edges[:] = -1
    assert boxes.edges[0, 3] == 1


def random_boxes(count, seed=0):
    rng = np.random.default_rng(seed)
    low, size = rng.uniform(0, 60, (count, 3)), rng.uniform(1, 20, (count, 3))
    return Boxes(
        np.concatenate([low, low + size], axis=1), rng.random(count), rng.integers(1, 3, count)
    )


@pytest.mark.parametrize("limit", [0.0, 0.2, 0.6])
def test_suppression_in_blocks_keeps_what_one_by_one_keeps(limit):
    boxes = random_boxes(900)
    order = np.argsort(-boxes.scores, kind="stable").tolist()
    overlap = box_iou(boxes.edges, boxes.edges)
    kept = []
    for n in order:
        rivals = [m for m in kept if boxes.labels[m] == boxes.labels[n]]
        if not (overlap[n, rivals] > limit).any():
            kept.append(n)
    np.testing.assert_array_equal(boxes.suppressed(limit).edges, boxes.edges[kept])


@pytest.mark.parametrize("merge", ["suppressed", "fused"])
def test_merging_thousands_of_boxes_asks_now_and_then_whether_to_stop(merge):
    class Stop(Exception):
        pass

    asked = []

    def check():
        asked.append(True)
        if len(asked) == 3:
            raise Stop

    with pytest.raises(Stop):
        getattr(random_boxes(3000), merge)(0.5, check)
    assert len(asked) == 3
