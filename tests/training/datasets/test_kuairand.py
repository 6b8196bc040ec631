"""The KuaiRand import, on made-up files of the same layout; on the real ones where EXPLORE_TEST_KUAIRAND_DIR names them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import polars as pl
import pytest

from training.datasets import Dataset, load
from training.datasets.examples import labelled
from training.datasets.kuairand import import_kuairand
from training.errors import DatasetError

LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,"
    "long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
NOON_MS = 1_650_772_800_000  # 2022-04-24T04:00Z, noon of a day in China
USERS = """user_id,user_active_degree,register_days,follow_user_num,fans_user_num
0,full_active,10,5,2
7,low_active,,,
"""
VIDEOS = """video_id,author_id,upload_dt,video_duration,tag
0,0,2022-04-10,87433.0,"39,2"
5,9,2022-04-09,,
"""
Files = dict[str, str]


def line(user: int, video: int, after_ms: int, flags: str = "0,0,0,0,0,0,0", play_ms: int = 0, tab: int = 1) -> str:
    return f"{user},{video},20220424,1200,{NOON_MS + after_ms},{flags},{play_ms},1,0,0,0,0,{tab}"


def log(*lines: str) -> str:
    return "\n".join([LOG_HEADER, *lines]) + "\n"


@pytest.fixture
def files() -> Files:
    return {
        "log_standard_4_08_to_4_21_pure.csv": log(line(0, 0, 0, "1,1,1,1,1,1,1", 2000), line(7, 5, 10, tab=4)),
        "log_standard_4_22_to_5_08_pure.csv": log(line(0, 5, 5), line(0, 5, 5), line(7, 0, 3, "1,0,0,0,0,0,0", 500)),
        "user_features_pure.csv": USERS,
        "video_features_basic_pure.csv": VIDEOS,
    }


def place(files: Files, directory: Path, packed: bool = False) -> Path:
    directory.mkdir(parents=True)
    for name, text in files.items():
        if packed:
            (directory / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (directory / name).write_text(text)
    return directory


def imported(files: Files, tmp_path: Path) -> Dataset:
    return import_kuairand(place(files, tmp_path / "source"), tmp_path / "out")


def refusal(files: Files, tmp_path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        imported(files, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source"], "something half-imported stayed"
    return str(caught.value)


def test_an_exposure_becomes_an_impression_and_its_actions(files: Files, tmp_path: Path) -> None:
    first = imported(files, tmp_path).events.filter(pl.col("request_id") == f"kr-0-{NOON_MS}-0")
    assert first["action"].to_list() == [
        *("impression", "click", "long_view", "like", "follow", "comment", "share", "hide", "dwell"),
    ]
    assert first.filter(pl.col("action") == "dwell")["value"].to_list() == [2000.0]
    assert set(first["media_id"]) == {1}
    assert set(first["author_id"]) == {1}
    assert set(first["surface"]) == {"tab1"}


def test_exact_repeats_are_dropped_and_events_are_in_time_order(files: Files, tmp_path: Path) -> None:
    shown = imported(files, tmp_path).events.filter(pl.col("action") == "impression")
    assert shown.select("user_id", "media_id").rows() == [("0", 1), ("7", 1), ("0", 6), ("7", 6)]
    assert shown["position"].null_count() == shown["propensity"].null_count() == 4


def test_videos_keep_their_tags_and_their_day_in_china(files: Files, tmp_path: Path) -> None:
    first, second = imported(files, tmp_path).media.to_dicts()
    assert (first["topic"], first["tags"], first["duration_ms"]) == ("39", ["39", "2"], 87433)
    assert first["created_at"].isoformat() == "2022-04-09T16:00:00+00:00"
    assert (second["media_id"], second["topic"], second["tags"], second["duration_ms"]) == (6, None, None, None)


def test_users_keep_what_is_known_of_them(files: Files, tmp_path: Path) -> None:
    first, second = imported(files, tmp_path).users.to_dicts()
    assert first["registered_at"].isoformat() == "2022-04-13T16:00:00+00:00"
    assert (first["n_following"], first["n_followers"], first["segment"]) == (5, 2, "full_active")
    assert (second["user_id"], second["registered_at"], second["n_following"]) == ("7", None, None)


def test_nobody_posts_under_an_account_and_nothing_is_flagged(files: Files, tmp_path: Path) -> None:
    dataset = imported(files, tmp_path)
    assert dataset.users["account_id"].is_null().all()
    assert "policy_flags" not in dataset.media.columns


def test_random_exposures_know_their_propensity(files: Files, tmp_path: Path) -> None:
    files["log_random_4_22_to_5_08_pure.csv"] = log(line(0, 0, 50), line(7, 5, 60), line(0, 5, 70))
    events = imported(files, tmp_path).events
    assert events.filter(pl.col("propensity").is_not_null())["propensity"].to_list() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_the_layout_of_the_download_is_read_as_it_is(files: Files, tmp_path: Path, packed: bool) -> None:
    place(files, tmp_path / "source" / "data", packed)
    steps: list[tuple[int, int]] = []
    written = import_kuairand(tmp_path / "source", tmp_path / "out", lambda done, total: steps.append((done, total)))
    assert load(tmp_path / "out").events.equals(written.events)
    assert steps == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("log_standard_4_22_to_5_08_pure.csv", "time_ms", "time", "column time_ms: the column is missing"),
        ("log_standard_4_22_to_5_08_pure.csv", ",500,", ",half,", "column play_time_ms, row 2: value 'half': it is no"),
        ("log_standard_4_22_to_5_08_pure.csv", f"{NOON_MS + 3}", "-3", "column time_ms, row 2: value '-3': it is neg"),
        ("log_standard_4_22_to_5_08_pure.csv", "7,0,2022", "7,8,2022", "column video_id, row 2: value 8: the video fe"),
        ("log_standard_4_22_to_5_08_pure.csv", "7,0,2022", "6,0,2022", "column user_id, row 2: value 6: the user feat"),
        ("log_standard_4_22_to_5_08_pure.csv", "3,1,0,", "3,2,0,", "column is_click, row 2: value '2': it is more"),
        ("video_features_basic_pure.csv", "2022-04-09", "soon", "column upload_dt, row 1: value 'soon': it is no date"),
        (
            "video_features_basic_pure.csv",
            "5,9,",
            "0,9,",
            "column video_id, row 1: value 0: it occurs in an earlier row",
        ),
        ("user_features_pure.csv", "7,low", "0,low", "column user_id, row 1: value 0: it occurs in an earlier row"),
        ("user_features_pure.csv", "10,5,2", "ten,5,2", "column register_days, row 0: value 'ten': it is no whole n"),
    ],
)
def test_a_malformed_file_is_named(files: Files, tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    files[name] = files[name].replace(old, new, 1)
    text = refusal(files, tmp_path)
    assert f"{name}, {message}" in text


@pytest.mark.parametrize("pattern", ["log_standard", "user_features_pure", "video_features_basic_pure"])
def test_a_missing_file_is_named(files: Files, tmp_path: Path, pattern: str) -> None:
    present = {name: text for name, text in files.items() if not name.startswith(pattern)}
    assert f"neither it nor its data/ has a file {pattern}" in refusal(present, tmp_path)


def test_a_truncated_log_leaves_an_earlier_import_alone(files: Files, tmp_path: Path) -> None:
    good = imported(files, tmp_path)
    cut = place(files, tmp_path / "cut", packed=True) / "log_standard_4_22_to_5_08_pure.csv.gz"
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"4_22_to_5_08_pure\.csv\.gz: it cannot be read to its end"):
        import_kuairand(tmp_path / "cut", tmp_path / "out")
    assert load(tmp_path / "out").events.equals(good.events)


def test_the_real_slice_imports_whole(tmp_path: Path) -> None:
    source = os.environ.get("EXPLORE_TEST_KUAIRAND_DIR")
    if not source:
        pytest.skip("EXPLORE_TEST_KUAIRAND_DIR does not name a KuaiRand-Pure directory")
    dataset = import_kuairand(source, tmp_path / "out")
    result = labelled(dataset.events)
    assert (result.n_orphans, len(dataset.users), len(dataset.media)) == (0, 27_285, 7_583)
    assert len(result.frame) + result.n_repeats == (dataset.events["action"] == "impression").sum()


def test_a_random_log_without_rows_adds_nothing(files: Files, tmp_path: Path) -> None:
    whole = import_kuairand(place(files, tmp_path / "a"), tmp_path / "out")
    files["log_random_4_22_to_5_08_pure.csv"] = log()
    same = import_kuairand(place(files, tmp_path / "b"), tmp_path / "again")
    assert same.events.equals(whole.events)


def test_logs_without_rows_are_named(files: Files, tmp_path: Path) -> None:
    empty = {name: log() if name.startswith("log") else text for name, text in files.items()}
    with pytest.raises(DatasetError, match=r"no row in log_standard_4_08_to_4_21_pure\.csv, log_standard.*download"):
        import_kuairand(place(empty, tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
