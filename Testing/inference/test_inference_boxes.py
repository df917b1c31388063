from __future__ import annotations

import numpy as np
import pytest

from MedDetectLib.core.boxes import box_iou
from MedDetectLib.core.errors import ModelError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.box_scores import BoxGather
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.windows import plan_windows

DECODED = {"head": "boxes"}
SIZES = [[2.0, 3.0, 4.0], [6.0, 2.0, 2.5]]


def anchors_output(levels=1, **changes):
    return {
        "head": "boxes",
        "levels": [
            {
                "scores_tensor": f"s{n}",
                "deltas_tensor": f"d{n}",
                "stride_kji": [1 << n, 2 << n, 2 << n],
                "anchor_sizes_kji": [[side * 2**n for side in size] for size in SIZES],
            }
            for n in range(levels)
        ],
        **changes,
    }


def plain(card, shape=(8, 8, 8)):
    prepared = prepare(Volume(np.zeros(shape), Geometry(shape, np.eye(4))), card)
    return prepared, plan_windows(prepared.shape_kji, card.input.window)


def answer(boxes, scores, classes):
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 6),
        "scores": np.array(scores, np.float32),
        "labels": np.array(classes, np.int64),
    }


def gathered(card, shape, *answers):
    prepared, windows = plain(card, shape)
    gather = BoxGather(card, prepared)
    for window, outputs in zip(windows, answers, strict=True):
        gather.add(window, outputs)
    return gather.result()


def test_finished_boxes_are_taken_as_they_are(card_of):
    card = card_of(labels=2, output=DECODED, channels=("",))
    result = gathered(
        card, (8, 8, 8), answer([[1, 2, 3, 4, 5, 6], [5, 5, 5, 7, 8, 7.5]], [0.25, 0.5], [0, 1])
    )
    np.testing.assert_array_equal(result.edges, [[5, 5, 5, 7, 8, 7.5], [1, 2, 3, 4, 5, 6]])
    assert result.labels.tolist() == [2, 1]
    assert result.scores.tolist() == [0.5, 0.25]


def test_a_batch_axis_in_front_changes_nothing(card_of):
    card = card_of(labels=2, output=DECODED, channels=("",))
    outputs = answer([[1, 2, 3, 4, 5, 6]], [0.5], [1])
    with_batch = {name: value[None] for name, value in outputs.items()}
    one, two = gathered(card, (8, 8, 8), outputs), gathered(card, (8, 8, 8), with_batch)
    np.testing.assert_array_equal(one.edges, two.edges)
    assert one.labels.tolist() == two.labels.tolist()


@pytest.mark.parametrize("empty", [np.zeros((0, 6), np.float32), np.zeros((1, 0, 6), np.float32)])
def test_no_boxes_are_no_boxes(card_of, empty):
    card = card_of(labels=2, output=DECODED, channels=("",))
    outputs = {"boxes": empty, "scores": np.zeros(0), "labels": np.zeros(0, np.int64)}
    assert len(gathered(card, (8, 8, 8), outputs)) == 0


def test_coordinates_on_voxel_centres_are_half_a_voxel_further(card_of):
    card = card_of(output={**DECODED, "coordinates": "index"}, channels=("",))
    result = gathered(card, (8, 8, 8), answer([[1, 2, 3, 4, 5, 6]], [0.5], [0]))
    np.testing.assert_array_equal(result.edges, [[1.5, 2.5, 3.5, 4.5, 5.5, 6.5]])


def test_boxes_given_as_ijk_are_turned_round(card_of):
    card = card_of(output={**DECODED, "order": "ijkijk"}, channels=("",))
    result = gathered(card, (8, 8, 8), answer([[3, 2, 1, 6, 5, 4]], [0.5], [0]))
    np.testing.assert_array_equal(result.edges, [[1, 2, 3, 4, 5, 6]])


def test_the_first_label_is_what_the_card_says(card_of):
    card = card_of(labels=3, output={**DECODED, "first_label": 0}, channels=("",))
    outputs = answer([[1, 2, 3, 4, 5, 6]], [0.5], [3])
    assert gathered(card, (8, 8, 8), outputs).labels.tolist() == [3]


def test_boxes_are_moved_by_their_window_and_cut_at_the_volume(card_of):
    card = card_of(output=DECODED, window=(8, 8, 8), overlap=0.0, channels=("",))
    shape = (4, 16, 8)  # along k the window overhangs by 2 on either side
    empty = answer([], [], [])
    moved = gathered(card, shape, empty, answer([[3, 1, 2, 5, 3, 4]], [0.5], [0]))
    np.testing.assert_array_equal(moved.edges, [[1, 9, 2, 3, 11, 4]])
    cut = gathered(card, shape, answer([[0, -3, 2, 8, 3, 9]], [0.5], [0]), empty)
    np.testing.assert_array_equal(cut.edges, [[0, 0, 2, 4, 3, 8]])
    gone = gathered(card, shape, answer([[0, 1, 1, 2, 3, 3]], [0.5], [0]), empty)
    assert len(gone) == 0


@pytest.mark.parametrize("method", ["nms", "wbf"])
def test_what_two_windows_see_becomes_one_box(card_of, method):
    card = card_of(
        labels=2, output={**DECODED, "merge": {"method": method, "iou": 0.4}},
        window=(8, 8, 8), overlap=0.5, channels=("",),
    )  # fmt: skip
    first = answer([[1, 1, 5, 4, 4, 8], [1, 1, 5, 4, 4, 8]], [0.6, 0.3], [0, 1])
    second = answer([[1, 1, 1, 4, 4, 5]], [0.9], [0])  # columns 4 to 12: the same, one wider
    result = gathered(card, (8, 8, 12), first, second)
    assert result.labels.tolist() == [1, 2]
    np.testing.assert_allclose(result.scores, [0.9, 0.3], atol=1e-6)
    wide, narrow = np.array([1, 1, 5, 4, 4, 9.0]), np.array([1, 1, 5, 4, 4, 8.0])
    expected = wide if method == "nms" else (0.9 * wide + 0.6 * narrow) / 1.5
    np.testing.assert_allclose(result.edges, [expected, narrow], atol=1e-6)


def test_low_scores_are_dropped_before_boxes_are_merged(card_of):
    card = card_of(output=DECODED, operating_point={"min_score": 0.5}, channels=("",))
    outputs = answer([[1, 1, 1, 2, 2, 2], [4, 4, 4, 6, 6, 6]], [0.49, 0.5], [0, 0])
    assert gathered(card, (8, 8, 8), outputs).scores.tolist() == [0.5]


def test_boxes_without_extent_are_dropped(card_of):
    card = card_of(output=DECODED, channels=("",))
    outputs = answer(
        [[1, 1, 1, 1, 2, 2], [3, 2, 2, 2, 4, 4], [1, 1, 1, 2, 2, 2]], [0.5] * 3, [0] * 3
    )
    assert len(gathered(card, (8, 8, 8), outputs)) == 1


BAD = {
    "NaN edge": answer([[1, 2, 3, 4, 5, np.nan]], [0.5], [0]),
    "infinite edge": answer([[1, 2, 3, 4, 5, np.inf]], [0.5], [0]),
    "NaN score": answer([[1, 2, 3, 4, 5, 6]], [np.nan], [0]),
    "NaN score among others": answer([[1, 2, 3, 4, 5, 6]] * 2, [0.9, np.nan], [0, 0]),
    "a logit for a score": answer([[1, 2, 3, 4, 5, 6]], [5.25], [0]),
    "unknown class": answer([[1, 2, 3, 4, 5, 6]], [0.5], [7]),
    "five numbers": {**answer([], [], []), "boxes": np.zeros((1, 5))},
    "a score too many": answer([[1, 2, 3, 4, 5, 6]], [0.5, 0.5], [0]),
    "a class too few": answer([[1, 2, 3, 4, 5, 6]], [0.5], []),
}


@pytest.mark.parametrize("min_score", [0.0, 0.3])
@pytest.mark.parametrize("name", BAD)
def test_boxes_that_make_no_sense_are_a_model_error(card_of, name, min_score):
    point = {"min_score": min_score}
    card = card_of(labels=2, output=DECODED, channels=("",), operating_point=point)
    with pytest.raises(ModelError) as caught:
        gathered(card, (8, 8, 8), BAD[name])
    assert caught.value.code == "bad-output"


def test_a_missing_tensor_is_a_model_error(card_of):
    card = card_of(output=DECODED, channels=("",))
    for name in ("boxes", "scores", "labels"):
        outputs = answer([[1, 2, 3, 4, 5, 6]], [0.5], [0])
        del outputs[name]
        with pytest.raises(ModelError, match="wrong-tensor"):
            gathered(card, (8, 8, 8), outputs)


# --- anchors --------------------------------------------------------------------------


def random_level(rng, grid, anchors, classes):
    scores = rng.normal(-1, 2, (1, anchors * classes, *grid)).astype(np.float32)
    deltas = rng.normal(0, 0.6, (1, anchors * 6, *grid)).astype(np.float32)
    deltas[0, 3, 0, 0, 0] = 9.0  # a wild one: the growth is limited
    return scores, deltas


def naive_anchor_boxes(card, outputs, window_start, shape):
    """One place, one anchor, one class at a time, in Python numbers."""
    head, found = card.head, []
    softmax = head.activation == "softmax"
    classes = len(card.labels) + softmax
    for level in head.levels:
        logits, deltas = outputs[level.scores_tensor][0], outputs[level.deltas_tensor][0]
        rows = []
        for k, j, i in np.ndindex(*logits.shape[1:]):
            for a, size in enumerate(level.anchor_sizes_kji):
                here = logits[a * classes : (a + 1) * classes, k, j, i].astype(float)
                if softmax:
                    chances = (np.exp(here) / np.exp(here).sum())[1:]
                else:
                    chances = 1 / (1 + np.exp(-here))
                delta = deltas[a * 6 : (a + 1) * 6, k, j, i].astype(float) / head.delta_weights
                axes = [2, 1, 0] if head.order == "ijkijk" else [0, 1, 2]
                low, high = [0.0] * 3, [0.0] * 3
                for axis, place in enumerate((k, j, i)):
                    n = axes.index(axis)  # deltas are in the head's own order of axes
                    centre = place * level.stride_kji[axis] + level.first_centre_kji[axis]
                    centre += delta[n] * size[axis]
                    side = size[axis] * np.exp(min(delta[n + 3], np.log(1000 / 16)))
                    low[axis], high[axis] = centre - side / 2, centre + side / 2
                rows += [(chance, c + 1, low + high) for c, chance in enumerate(chances)]
        rows.sort(key=lambda row: -row[0])
        found += rows[: head.max_per_window]
    shift = 0.5 if head.coordinates == "index" else 0.0
    boxes, scores, labels = [], [], []
    for score, label, box in found:
        moved = np.array(box) + shift + np.array(list(window_start) * 2)
        moved = np.clip(moved, 0, np.array(shape * 2))
        if score >= card.operating_point.min_score and (moved[3:] > moved[:3]).all():
            boxes.append(moved)
            scores.append(score)
            labels.append(label)
    return np.array(boxes), np.array(scores), np.array(labels)


VARIANTS = [
    {},
    {"activation": "softmax"},
    {"coordinates": "index", "first_centre_kji": [0.5, 1.0, 0.0]},
    {"order": "ijkijk"},
    {"order": "ijkijk", "delta_weights": [10, 9, 8, 5, 4, 3], "max_per_window": 40},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_anchor_boxes_are_those_of_a_naive_loop(card_of, changes):
    rng = np.random.default_rng(5)
    merge = {"merge": {"method": "nms", "iou": 1.0}}  # nothing is suppressed
    place = {key: changes[key] for key in ("first_centre_kji",) if key in changes}
    changes = {key: value for key, value in changes.items() if key not in place}
    output = anchors_output(2, **merge, **changes)
    for level in output["levels"]:
        level.update(place)
    card = card_of(
        labels=2, output=output, window=(8, 8, 8), channels=("",),
        operating_point={"min_score": 0.2},
    )  # fmt: skip
    shape = (6, 8, 12)
    prepared, windows = plain(card, shape)
    gather = BoxGather(card, prepared)
    expected = []
    classes = 2 + (changes.get("activation") == "softmax")
    for window in windows:
        outputs = {}
        for n, grid in enumerate([(8, 4, 4), (4, 2, 2)]):
            outputs[f"s{n}"], outputs[f"d{n}"] = random_level(rng, grid, 2, classes)
        gather.add(window, outputs)
        expected.append(naive_anchor_boxes(card, outputs, window.start_kji, shape))
    boxes, scores, labels = (np.concatenate(part) for part in zip(*expected, strict=True))
    result = gather.result()
    order = np.argsort(-scores, kind="stable")
    assert len(result) == len(order) > 20
    np.testing.assert_allclose(result.scores, scores[order], atol=1e-9)
    np.testing.assert_allclose(result.edges, boxes[order], atol=1e-6)
    np.testing.assert_array_equal(result.labels, labels[order])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_anchors_and_decoding_are_monais(card_of, stride):
    """MONAI centres the first anchor at stride // 2 and rounds half its sizes, hence even ones."""
    torch = pytest.importorskip("torch")
    coder_module = pytest.importorskip("monai.apps.detection.utils.box_coder")
    anchor_module = pytest.importorskip("monai.apps.detection.utils.anchor_utils")
    weights = [2.0, 2.0, 2.0, 1.5, 1.5, 1.5]
    sizes = [[2.0, 4.0, 6.0], [8.0, 2.0, 4.0]]
    level = {"scores_tensor": "s0", "deltas_tensor": "d0", "stride_kji": [stride] * 3,
             "anchor_sizes_kji": sizes, "first_centre_kji": [stride // 2] * 3}  # fmt: skip
    output = {
        "head": "boxes", "levels": [level], "delta_weights": weights,
        "merge": {"method": "nms", "iou": 1.0}, "max_per_window": 10**6,
    }  # fmt: skip
    card = card_of(output=output, window=(8, 8, 8), channels=("",))
    grid = (8 // stride,) * 3
    scores, deltas = random_level(np.random.default_rng(2), grid, 2, 1)
    generator = anchor_module.AnchorGeneratorWithAnchorShape(
        feature_map_scales=(1,), base_anchor_shapes=sizes
    )
    anchors = generator(torch.zeros(1, 1, 8, 8, 8), [torch.zeros(1, 1, *grid)])[0]
    flat = torch.from_numpy(deltas).view(1, 2, 6, *grid).permute(0, 3, 4, 5, 1, 2).reshape(-1, 6)
    decoded = coder_module.BoxCoder(weights=tuple(weights)).decode_single(flat, anchors).numpy()
    chances = torch.from_numpy(scores).view(2, *grid).permute(1, 2, 3, 0).reshape(-1).sigmoid()
    order = np.argsort(-chances.numpy(), kind="stable")
    expected = np.clip(decoded[order], 0, 8)
    expected = expected[(expected[:, 3:] > expected[:, :3]).all(axis=1)]
    result = gathered(card, (8, 8, 8), {"s0": scores, "d0": deltas})
    assert len(result) == len(expected)
    np.testing.assert_allclose(result.edges, expected, atol=2e-3)


def test_a_stride_that_does_not_fit_the_window_is_a_model_error(card_of):
    """It would put every box at a wrong place without a word."""
    card = card_of(output=anchors_output(1), channels=("",))  # the card says 1, 2, 2 of 8
    for grid in ((8, 8, 8), (4, 4, 4), (8, 4, 2), (2, 4, 4)):
        outputs = {"s0": np.zeros((1, 2, *grid)), "d0": np.zeros((1, 12, *grid))}
        with pytest.raises(ModelError, match="stride_kji"):
            gathered(card, (8, 8, 8), outputs)


@pytest.mark.parametrize("rows", [3, 4])
def test_a_last_place_that_a_window_only_partly_holds_may_be_there_or_not(card_of, rows):
    card = card_of(output=anchors_output(1), window=(8, 7, 8), channels=("",))
    outputs = {"s0": np.zeros((1, 2, 8, rows, 4)), "d0": np.zeros((1, 12, 8, rows, 4))}
    assert len(gathered(card, (8, 7, 8), outputs)) > 0


def test_only_the_best_of_each_level_are_taken(card_of):
    merge = {"method": "nms", "iou": 1.0}
    card = card_of(
        labels=1, output=anchors_output(2, max_per_window=3, merge=merge), channels=("",)
    )
    rng = np.random.default_rng(0)
    outputs = {}
    for n, grid in enumerate([(8, 4, 4), (4, 2, 2)]):
        outputs[f"s{n}"] = rng.normal(size=(1, 2, *grid)).astype(np.float32)
        outputs[f"d{n}"] = np.zeros((1, 12, *grid), np.float32)
    best = np.concatenate([np.sort(outputs[f"s{n}"].ravel())[-3:] for n in range(2)])
    result = gathered(card, (8, 8, 8), outputs)
    np.testing.assert_allclose(
        np.sort(result.scores), np.sort(1 / (1 + np.exp(-best.astype(float)))), atol=1e-9
    )


@pytest.mark.parametrize("where", ["scores", "deltas"])
def test_one_nan_in_an_anchor_level_is_a_model_error_wherever_it_stands(card_of, where):
    """Sorting puts NaN last: cut off with the low scores it must still be noticed."""
    card = card_of(output=anchors_output(1, max_per_window=2), channels=("",))
    outputs = {"s0": np.zeros((1, 2, 8, 4, 4)), "d0": np.zeros((1, 12, 8, 4, 4))}
    name = "s0" if where == "scores" else "d0"
    outputs[name][0, -1, -1, -1, -1] = np.nan
    with pytest.raises(ModelError) as caught:
        gathered(card, (8, 8, 8), outputs)
    assert caught.value.code == "bad-output"


@pytest.mark.parametrize(
    ("scores", "deltas"),
    [((1, 3, 8, 4, 4), (1, 12, 8, 4, 4)), ((1, 2, 8, 4, 4), (1, 6, 8, 4, 4)),
     ((1, 2, 8, 4, 4), (1, 12, 8, 4, 2)), ((2, 2, 8, 4, 4), (2, 12, 8, 4, 4)),
     ((1, 2, 8, 4), (1, 12, 8, 4))],
)  # fmt: skip
def test_anchor_tensors_of_a_wrong_shape_are_a_model_error(card_of, scores, deltas):
    card = card_of(output=anchors_output(1), channels=("",))
    with pytest.raises(ModelError, match="bad-output"):
        gathered(card, (8, 8, 8), {"s0": np.zeros(scores), "d0": np.zeros(deltas)})


# --- home -----------------------------------------------------------------------------


@pytest.mark.parametrize("anchor", ["edges", "first_centre"])
def test_boxes_lie_at_the_same_patient_place_whatever_the_grid(
    model_of, directions_48, grid, oblique, anchor
):
    """The network answers a box at a RAS place it is told; the finding must lie there."""
    low, high = np.array([3.0, -6.0, 11.0]), np.array([9.0, 4.0, 15.0])
    geometries = [
        grid((5, 1, 12), 30, (2.5, 0.9, 1.2), directions) for directions in directions_48[::5]
    ]
    geometries.append(grid((5, 1, 12), 30, (2.5, 0.9, 1.2), oblique))
    for geometry in geometries:
        volume = Volume(np.zeros(geometry.shape_kji, np.int16), geometry, "CT")
        changes = {
            "output": DECODED, "orientation": "RAS", "spacing_kji_mm": [1.5, 1.0, 1.0],
            "anchor": anchor, "window": (64, 64, 64),
        }  # fmt: skip
        probe = prepare(volume, model_of(**changes).card)
        window = plan_windows(probe.shape_kji, model_of(**changes).card.input.window)[0]
        # a box of the model's grid; on a right-angled grid its RAS corners are low and high
        middle = probe.geometry.ras_to_edge((low + high) / 2)
        half = (high - low)[::-1] / 2 / probe.geometry.spacing_kji_mm
        box = np.concatenate([middle - half, middle + half])
        told = box - np.array(window.start_kji * 2)

        def network(_, told=told):
            return answer([told], [0.75], [0])

        findings = detect(volume, model_of(network, **changes))
        (finding,) = findings.items
        corners = geometry.box_corners_ras_mm(finding.box)
        expected = probe.geometry.box_corners_ras_mm(box)
        gaps = np.linalg.norm(corners[:, None] - expected[None], axis=-1)
        assert gaps.min(axis=0).max() < 1e-3
        if not geometry.is_oblique:
            np.testing.assert_allclose(corners.min(axis=0), low, atol=1e-3)
            np.testing.assert_allclose(corners.max(axis=0), high, atol=1e-3)
        assert finding.score == 0.75
        assert finding.mask_value is None
        assert finding.diameter_mm == pytest.approx(10.0, abs=1e-3)
        assert finding.volume_ml == pytest.approx(6 * 10 * 4 / 1000, abs=1e-4)
        assert findings.label_map is None


def test_merged_boxes_of_one_class_overlap_no_more_than_the_card_allows(card_of):
    rng = np.random.default_rng(0)
    card = card_of(labels=2, output=DECODED, window=(32, 32, 32), channels=("",))
    low = rng.uniform(0, 24, (300, 3))
    outputs = answer(np.hstack([low, low + 6]), rng.uniform(size=300), rng.integers(0, 2, 300))
    result = gathered(card, (32, 32, 32), outputs)
    overlap = box_iou(result.edges, result.edges) - np.eye(len(result))
    same = result.labels[:, None] == result.labels[None]
    assert overlap[same].max() <= 0.3
    assert (np.diff(result.scores) <= 0).all()
