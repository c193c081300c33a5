"""Groups that were drawn are found, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.flatfield import compare_mean_images, suggest_groups
from analysis.synthetic.flatfield import draw_cohort


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    cohort = draw_cohort(tmp_path_factory.mktemp("cohort"), seed=2, shape=(40, 50, 4), sizes=(4, 3), outliers=1)
    return compare_mean_images(cohort.roots)


@pytest.mark.parametrize("seed", range(50))
def test_two_groups_and_an_outlier_are_found_exactly(tmp_path, seed):
    cohort = draw_cohort(tmp_path, seed=seed, shape=(64, 80, 5), sizes=(4, 3), outliers=1, difference=0.2)
    groups = suggest_groups(compare_mean_images(cohort.roots))
    truth = dict(zip(cohort.slide_ids, cohort.groups, strict=True))
    assert dict(zip(groups.names, groups.labels.tolist(), strict=True)) == truth


def test_table_names_the_worst_pair(comparison):
    groups = suggest_groups(comparison)
    table = groups.table
    assert table["group"].tolist() == ["group 1", "group 2", "outlier"]
    assert table["slides"].tolist() == [4, 3, 1]
    values = comparison.average()
    place = {name: i for i, name in enumerate(groups.names)}
    for row in table.itertuples():
        assert row.worst_value == values[place[row.worst_slide_1], place[row.worst_slide_2]]
    inside = [place[name] for name in groups.members(0)]
    worst = max(abs(values[i, j] - 1) for i in inside for j in inside if i != j)
    assert abs(table["worst_value"][0] - 1) == worst
    assert groups.outliers == ("M2_4",)
    assert groups.summary() == {"groups": 2, "sizes": [4, 3], "outliers": ["M2_4"], "threshold": 0.05}


def test_no_pair_in_a_group_is_beyond_the_threshold(comparison):
    for threshold in (0.004, 0.01, 0.3, 1.0, 50.0):
        groups = suggest_groups(comparison, threshold=threshold)
        for group in range(groups.labels.max() + 1):
            inside = np.flatnonzero(groups.labels == group)
            assert groups.distances[np.ix_(inside, inside)].max() <= threshold
    assert groups.table["slides"].tolist() == [8]
    assert sorted(groups.order) == list(range(8))


def test_order_of_slides_does_not_change_groups(comparison):
    turned = np.arange(8)[::-1]
    slides = replace(comparison.slides, slides=comparison.slides.slides[::-1])
    other = replace(comparison, slides=slides, values=comparison.values[np.ix_(turned, turned)])
    a, b = suggest_groups(comparison), suggest_groups(other)
    assert {frozenset(a.members(g)) for g in range(2)} == {frozenset(b.members(g)) for g in range(2)}


def test_unknown_pairs_never_share_a_group(comparison):
    values = comparison.values.copy()
    values[0, 1] = values[1, 0] = np.nan
    groups = suggest_groups(replace(comparison, values=values), threshold=5.0)
    assert groups.labels[0] != groups.labels[1]


def test_layer_sets_and_small_cohorts(comparison):
    assert suggest_groups(comparison, layers=1).values[0, 1] == comparison.values[0, 1, 0]
    one = replace(
        comparison,
        slides=replace(comparison.slides, slides=comparison.slides.slides[:1]),
        values=comparison.values[:1, :1],
    )
    groups = suggest_groups(one)
    assert groups.outliers == ("M1_1",) and len(groups.table) == 1
    none = replace(comparison, slides=replace(comparison.slides, slides=()), values=comparison.values[:0, :0])
    assert suggest_groups(none).table.empty


@pytest.mark.parametrize("threshold", [0, -1, float("nan"), float("inf")])
def test_threshold_must_be_positive(comparison, threshold):
    with pytest.raises(ValueError, match="threshold must be a number above 0"):
        suggest_groups(comparison, threshold=threshold)
