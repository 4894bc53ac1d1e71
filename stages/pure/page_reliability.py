"""The part of the page on calibration: do predicted stars mean stars?"""

from typing import Any

from stages.pure import figures_rows, wording
from stages.pure.views import Figure, Missing


def reliability_figure(report: dict[str, Any] | str, key: str, title: str) -> Figure | Missing:
    """Rated against predicted stars in bins, with the expected calibration error (ECE)."""
    caption = f"Reliability: {title}"
    if isinstance(report, str):
        return Missing(caption, report)
    bins = [row for row in report.get("details", {}).get("reliability", []) if row["rows_n"]]
    if not bins:
        return Missing(caption, f"reports/check_verifier_{key}.json has no details.reliability")
    predicted, rated, n = (
        [row[name] for row in bins] for name in ("predicted_stars", "rating_stars", "rows_n")
    )
    error = sum(c * abs(p - r) for p, r, c in zip(predicted, rated, n, strict=True)) / sum(n)
    told = f"Expected calibration error (ECE) {error:.2f} stars over {len(bins)} bins of "
    told += f"{wording.number(sum(n), 'n')} rows. Predicted {predicted[0]:.2f} is rated "
    told += f"{rated[0]:.2f}; predicted {predicted[-1]:.2f} is rated {rated[-1]:.2f}. "
    told += "The dotted line is perfect."
    svg = figures_rows.reliability(f"reliability-{key}", predicted, rated, n)
    return Figure(caption, told, svg)
