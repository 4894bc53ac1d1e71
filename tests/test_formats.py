"""What every result is written with: the same numbers give the same bytes, in key order."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.runtime import formats


def test_rows_come_in_key_order_and_equal_keys_keep_theirs():
    table = pd.DataFrame({"name": ["b", "a", "b"], "value": [1, 2, 3]})
    assert formats.in_order(table, ["name"]).value.tolist() == [2, 1, 3]
    assert formats.in_order(table, ["name"]).index.tolist() == [0, 1, 2]


def test_a_table_without_key_stays_as_it_is():
    table = pd.DataFrame({"name": ["b", "a"]})
    assert formats.in_order(table, []).name.tolist() == ["b", "a"]


def test_the_order_of_the_metrics_leaves_no_trace_and_numpy_numbers_are_numbers():
    of_numpy: dict[str, Any] = {"b_n": np.int64(2), "a_frac": np.float64(0.5)}
    one = formats.metrics_text(of_numpy, None)
    assert one == formats.metrics_text({"a_frac": 0.5, "b_n": 2}, None)
    assert json.loads(one) == {"metrics": {"a_frac": 0.5, "b_n": 2}}
    assert '"b_n": 2\n' in one  # a count is no 2.0


def test_details_stand_beside_the_metrics():
    body = json.loads(formats.metrics_text({}, {"rows": [["é", 1]]}))
    assert body == {"metrics": {}, "details": {"rows": [["é", 1]]}}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float):
    with pytest.raises(ValueError, match="not JSON compliant"):
        formats.metrics_text({"a_frac": value}, None)


def test_a_curve_keeps_six_digits_and_gaps_stay_empty():
    curve = pd.DataFrame({"step": [5, 10], "loss": [1.23456789, np.nan]})
    assert formats.curve_text(curve) == "step,loss\n5,1.23457\n10,\n"


def test_a_curve_without_a_logged_step_has_a_header():
    assert pd.read_csv(io.StringIO(formats.curve_text(pd.DataFrame()))).columns.tolist() == ["step"]
