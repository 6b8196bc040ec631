"""An exposure comes back from its record as it was."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.exposure_records import decode, encode
from features.exposures import Exposure

TEXT = st.text(max_size=8)
PROPENSITY = st.one_of(st.just(1.0), st.floats(0, 1), st.just(float("nan")))
ITEMS = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**31 - 1), PROPENSITY), max_size=5)


@given(TEXT, TEXT, st.integers(0, 2**53), st.dictionaries(TEXT, TEXT, max_size=3), st.floats(0, 1), ITEMS)
def test_an_exposure_is_decoded_as_it_was_encoded(
    request_id: str,
    surface: str,
    time_ms: int,
    arms: dict[str, str],
    arm_propensity: float,
    items: list[tuple[int, int, float]],
) -> None:
    media_id_K = np.array([media for media, _, _ in items], dtype=np.int64)
    position_K = np.array([position for _, position, _ in items], dtype=np.int64)
    propensity_K = np.array([propensity for _, _, propensity in items], dtype=np.float64)
    exposure = Exposure(
        request_id, "a\nb", time_ms, surface, arms, arm_propensity, "v1", media_id_K, position_K, propensity_K
    )
    again = decode(encode(exposure))
    for column in ("media_id_K", "position_K", "propensity_K"):
        np.testing.assert_array_equal(getattr(again, column), getattr(exposure, column))
        assert getattr(again, column).dtype == getattr(exposure, column).dtype
    for name in ("request_id", "user_id", "time_ms", "surface", "arms", "arm_propensity", "bundle_version"):
        assert getattr(again, name) == getattr(exposure, name)


def test_a_page_without_randomness_takes_no_room_for_propensities() -> None:
    columns = np.arange(25), np.arange(25)
    certain = Exposure("r", "u", 0, "", {}, 1.0, "v", *columns, np.ones(25))
    random = Exposure("r", "u", 0, "", {}, 1.0, "v", *columns, np.full(25, 0.5))
    assert len(encode(random)) - len(encode(certain)) >= 25 * 8 - 1
