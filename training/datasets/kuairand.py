"""Imports KuaiRand-Pure (Gao et al., CIKM 2022, kuairand.com) into the data contract. Knows its files and columns only.

Ids: KuaiRand counts videos and authors from 0, the contract from 1, so media_id = video_id + 1 and author_id + 1;
user ids stay as they are. Times come from `time_ms` alone (`date` and `hourmin` disagree with it on some rows).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from features.actions import Action, action_name
from training.datasets.conform import check_unique, refuse
from training.datasets.contract import TIME
from training.datasets.csv_source import find_csv, integers, read_csv
from training.datasets.load import Dataset, checked
from training.datasets.progress import Progress, silent
from training.datasets.write import refuse_foreign, write
from training.errors import DatasetError

ID_OFFSET = 1
_CHINA = "Asia/Shanghai"  # the days of the data set are those of UTC+8
_DAY_MS = 24 * 60 * 60 * 1000
_CHINA_AHEAD_MS = 8 * 60 * 60 * 1000

_FLAGS = {
    "is_click": Action.CLICK,
    "long_view": Action.LONG_VIEW,
    "is_like": Action.LIKE,
    "is_follow": Action.FOLLOW,
    "is_comment": Action.COMMENT,
    "is_forward": Action.SHARE,
    "is_hate": Action.HIDE,
}
_NUMBERS = ("user_id", "video_id", "time_ms", "play_time_ms", "tab")


def import_kuairand(source_dir: Path | str, out_dir: Path | str, progress: Progress = silent) -> Dataset:
    """Reads KuaiRand's own files in `source_dir` (or its `data/`; plain or gzipped) and writes a data set to `out_dir`.

    An exposure becomes an impression with a request id of its own (the log has no slates) and one event per flag; exact
    repeats of an exposure are dropped. Exposures of log_random_* carry the propensity 1 / videos in that log.
    Raises DatasetError naming file, column and row; `out_dir` then holds what it held before.
    """
    source, out = Path(source_dir), Path(out_dir)
    refuse_foreign(out.absolute())
    logs = _find(source, "log_standard_*") + find_csv(source, "log_random_*")
    steps = len(logs) + 3
    users_file, media_file = _find(source, "user_features_pure")[0], _find(source, "video_features_basic_pure")[0]
    media = _media(media_file)
    users = read_csv(users_file, ("user_id", "register_days", "follow_user_num", "fans_user_num", "user_active_degree"))
    user_ids = integers(users, users_file, ("user_id",))[0]
    check_unique(user_ids, str(users_file))
    progress(1, steps)
    exposures = []
    for done, file in enumerate(logs, start=2):
        exposures.append(_exposures(file, user_ids, media["media_id"] - ID_OFFSET))
        progress(done, steps)
    shown = pl.concat(exposures)
    if shown.is_empty():
        raise DatasetError(str(source), f"no row in {', '.join(file.name for file in logs)}", "download the logs again")
    events = _events(shown, media)
    dataset = checked(
        _users(users, users_file, int(events["event_time"].dt.epoch("ms").min())),  # type: ignore[arg-type]
        media,
        events.sort("event_time", maintain_order=True),
        name="kuairand-pure",
        created_by=f"explore import kuairand {source.name}",
    )
    progress(steps - 1, steps)
    written = write(dataset, out)
    progress(steps, steps)
    return written


def _find(source: Path, pattern: str) -> list[Path]:
    found = find_csv(source, pattern)
    if not found:
        reason = f"neither it nor its data/ has a file {pattern}.csv or .csv.gz"
        raise DatasetError(str(source), reason, "name the directory that KuaiRand-Pure was unpacked into")
    return found


def _exposures(file: Path, user_ids: pl.Series, video_ids: pl.Series) -> pl.DataFrame:
    text = read_csv(file, (*_NUMBERS, *_FLAGS))
    frame = pl.DataFrame([*integers(text, file, _NUMBERS), *integers(text, file, tuple(_FLAGS), high=1)])
    for name, known, table in (("user_id", user_ids, "user"), ("video_id", video_ids, "video")):
        unknown = ~frame[name].is_in(known.implode())
        refuse(frame[name], unknown, str(file), f"the {table} features lack it", "get log and features of one release")
    pool = frame["video_id"].n_unique()  # the random log shows every video of its pool with the same chance
    propensity = 1.0 / pool if pool and file.name.startswith("log_random") else None
    # A repeat is a line that agrees in every column, also in those that the contract has no place for.
    return frame.with_columns(propensity=pl.lit(propensity, dtype=pl.Float64)).filter(
        text.select(pl.struct(pl.all()).is_first_distinct()).to_series()
    )


def _events(exposures: pl.DataFrame, media: pl.DataFrame) -> pl.DataFrame:
    shown = exposures.with_columns(
        pl.format("kr-{}-{}-{}", "user_id", "time_ms", "video_id").alias("request_id"),
        media_id=pl.col("video_id") + ID_OFFSET,
    ).join(media.select("media_id", "author_id"), on="media_id", maintain_order="left")
    kinds = [_event(shown, Action.IMPRESSION)]
    kinds += [_event(shown.filter(pl.col(flag) == 1), action) for flag, action in _FLAGS.items()]
    watched = shown.filter(pl.col("play_time_ms") > 0)
    kinds.append(_event(watched, Action.DWELL, pl.col("play_time_ms")))
    return pl.concat(kinds)


def _event(shown: pl.DataFrame, action: Action, value: pl.Expr | None = None) -> pl.DataFrame:
    return shown.select(
        pl.col("user_id").cast(pl.String),
        "media_id",
        "author_id",
        pl.col("time_ms").cast(TIME).alias("event_time"),
        pl.lit(action_name(action)).alias("action"),
        (pl.lit(None) if value is None else value).cast(pl.Float32).alias("value"),
        "request_id",
        pl.lit(None, dtype=pl.Int32).alias("position"),
        pl.format("tab{}", "tab").alias("surface"),
        pl.col("propensity").cast(pl.Float32),
    )


def _users(text: pl.DataFrame, file: Path, first_event_ms: int) -> pl.DataFrame:
    user_id = integers(text, file, ("user_id",))[0]
    days, following, followers = integers(
        text, file, ("register_days", "follow_user_num", "fans_user_num"), nullable=True
    )
    first_day_ms = (first_event_ms + _CHINA_AHEAD_MS) // _DAY_MS * _DAY_MS - _CHINA_AHEAD_MS
    return pl.DataFrame(
        {
            "user_id": user_id.cast(pl.String),
            "registered_at": (first_day_ms - days * _DAY_MS).cast(TIME),
            "n_following": following,
            "n_followers": followers,
            "segment": text["user_active_degree"],
        }
    )


def _media(file: Path) -> pl.DataFrame:
    text = read_csv(file, ("video_id", "author_id", "upload_dt", "video_duration", "tag"))
    video, author = integers(text, file, ("video_id", "author_id"))
    check_unique(video, str(file))
    (duration,) = integers(text, file, ("video_duration",), nullable=True)
    day = text["upload_dt"].str.to_date("%Y-%m-%d", strict=False)
    refuse(text["upload_dt"], day.is_null(), str(file), "it is no date like 2022-04-10", "download the file again")
    tags = text["tag"].str.replace_all(" ", "").str.split(",")
    return pl.DataFrame(
        {
            "media_id": video + ID_OFFSET,
            "author_id": author + ID_OFFSET,
            "created_at": day.cast(pl.Datetime("ms")).dt.replace_time_zone(_CHINA).dt.convert_time_zone("UTC"),
            "duration_ms": duration,
            "topic": tags.list.first(),
            "tags": tags,
        }
    )
