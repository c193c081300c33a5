"""Words of the flatfield instrument that page, report and command share: names of files, results in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.flatfield import Groups, ModelCheck, PairComparison

MODEL_TABLE = "AstroPathFlatfieldModels.csv"
REPORT = "flatfield_report.html"


def pair_sentence(
    pair: PairComparison, over_layers: np.ndarray, filter_groups: tuple[str, ...], threshold: float
) -> str:
    """Say what the statistic of a pair means.

    Parameters
    ----------
    pair
        One layer of two slides.
    over_layers
        (layers,) statistic of the pair.
    filter_groups
        Filter group of every layer.
    threshold
        Largest distance from 1 that counts as the same illumination.
    """
    value = pair.standard_deviation
    far = int(np.sum(np.abs(over_layers - 1) > threshold))
    known = int(np.isfinite(over_layers).sum())
    where = f"Layer {pair.layer} ({filter_groups[pair.layer - 1]})"
    if not np.isfinite(value):
        return f"{where} has no pixel that can be compared."
    like = "the same illumination" if abs(value - 1) <= threshold else "another illumination"
    left = f" {pair.pixels_left_out:,} pixels are left out." if pair.pixels_left_out else ""
    return (
        f"{where}: std of Δ/σ {value:.3f}, {like} (1 means: no more than noise). "
        f"{far} of {known} layers are further than {threshold:g} from 1.{left}"
    )


def groups_sentence(groups: Groups) -> str:
    """Say which groups there are and how bad their worst pairs are."""
    table = groups.table[groups.table["group"] != "outlier"]
    parts = [
        f"{row.group} has {row.slides} slides (worst pair {row.worst_slide_1} and {row.worst_slide_2}: "
        f"{row.worst_value:.3f})"
        for row in table.head(6).itertuples()
    ]
    parts += [f"{len(table) - 6} more groups are in the table"] if len(table) > 6 else []
    outliers = groups.outliers
    if outliers:
        shown = ", ".join(outliers[:8]) + (", …" if len(outliers) > 8 else "")
        several = f"{len(outliers):,} slides stand alone: {shown}"
        parts.append(f"{shown} stands alone" if len(outliers) == 1 else several)
    sentence = "; ".join(parts) or "every slide stands alone"
    return sentence[:1].upper() + sentence[1:] + "."


def check_sentence(check: ModelCheck) -> str:
    """Say what the model takes away, as means over the layers."""
    table = check.table
    means = {name: float(table[name].mean()) for name in table if name.endswith("_percent")}
    return (
        "In the central 64 % of the field the 5-95 % spread goes from "
        f"{means['central_spread_before_percent']:.2f} % to {means['central_spread_after_percent']:.2f} % and the "
        f"standard deviation from {means['central_standard_deviation_before_percent']:.2f} % to "
        f"{means['central_standard_deviation_after_percent']:.2f} % (means over the layers); noise alone leaves "
        f"{means['noise_percent']:.2f} %."
    )


def problem_sentence(row: Mapping[str, str]) -> str:
    """Say what could not be used: file, expected, found."""
    who = row["slide_id"] or "A root"
    return f"{who} is left out ({row['reason']}): {row['file']}: expected {row['expected']}; found {row['found']}."
