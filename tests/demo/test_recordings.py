"""The recordings that the demo writes: as stated, the same every time, readable by others."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

import robodf as rd
from robodf.demo.recordings import write_recordings
from robodf.errors import OptionError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("recordings"))


def test_topics_and_counts(made):
    topics = rd.open_log(made.folder).topics.select("topic", "encoding", "count", "files")
    assert topics.rows() == [
        ("/caption", "json", 120, 3),
        ("/imu", "cdr", 24_000, 3),
        ("/joint_states", "cdr", 6_000, 3),
    ]
    assert rd.read_parquet(made.folder).count_rows() == 15


def test_chunked_and_compressed_by_both(made):
    compressions = set()
    for path in made.logs:
        with path.open("rb") as file:
            summary = make_reader(file).get_summary()
        assert summary is not None
        assert len(summary.chunk_indexes) > 100
        compressions |= {chunk.compression for chunk in summary.chunk_indexes}
    assert compressions == {"zstd", "lz4"}


def test_the_same_bytes_every_time(made, tmp_path):
    again = write_recordings(tmp_path)
    for first, second in zip((*made.logs, made.episodes), (*again.logs, again.episodes)):
        assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "episodes.parquet",
        "run_01.mcap",
        "run_02.mcap",
        "run_03.mcap",
    ]


def test_captions_repeat_over_files(made):
    captions = rd.read_mcap(made.folder, topic="/caption").collect()
    assert captions["text"].n_unique() < 0.7 * captions.height
    files = captions.group_by("text").agg(pl.col("recording").n_unique())
    assert files["recording"].max() == 3


def test_captions_are_about_the_task_of_their_episode(made):
    captions = rd.read_mcap(made.folder, topic="/caption")
    joined = captions.join(rd.read_parquet(made.episodes), on=["recording", "episode"], how="left").collect()
    assert joined["task"].to_list() == [text.split()[0] for text in joined["text"]]


def test_another_reader_decodes_the_same(made):
    with made.logs[0].open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        theirs = [m.decoded_message for m in reader.iter_decoded_messages(topics=["/joint_states"])]
    ours = rd.read_mcap(made.logs[0], topic="/joint_states").collect()
    assert [list(m.name) for m in theirs] == ours["name"].to_list()
    assert [list(m.effort) for m in theirs] == ours["effort"].to_list()


@pytest.mark.parametrize("arguments", [{"recordings": 0}, {"seconds": 0}, {"seconds": -1.0}])
def test_bad_arguments(tmp_path, arguments):
    with pytest.raises(OptionError, match="above 0"):
        write_recordings(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_no_half_file_after_an_error(tmp_path, monkeypatch):
    def stop(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("robodf.demo.recordings.McapWriter.write", stop)
    with pytest.raises(KeyboardInterrupt):
        write_recordings(tmp_path)
    assert list(tmp_path.iterdir()) == []
