"""Hashes of images, and rows whose hashes differ in few bits."""

from __future__ import annotations

import math
import threading
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import robodf as rd
from robodf.dedup import luma
from robodf.dedup.hamming import Phash, similarity
from robodf.dedup.phash import phash
from robodf.dedup.walk import verify
from robodf.errors import OptionError, SchemaError

FLAT = 1 << 63


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """Some smooth colours."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def raw(pixels: np.ndarray, encoding: str, pad: int = 0, **fields: object) -> dict:
    """A sensor_msgs/Image."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).view(np.uint8)
    data = np.pad(rows, ((0, 0), (0, pad))).tobytes()
    message = {"height": height, "width": width, "encoding": encoding, "step": rows.shape[1] + pad, "data": data}
    return message | {"is_bigendian": 0} | fields


def hashed(*images: object) -> list:
    frame = rd.from_polars(pl.DataFrame({"image": pl.Series(images)}))
    return frame.select(phash("image")).collect()["phash"].to_list()


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def oracle(gray: list[list[int]]) -> int:
    """The definition, in whole numbers and plain loops."""
    height, width = len(gray), len(gray[0])

    def share(cell: int, pixel: int, count: int) -> int:  # of a pixel in a cell, in 32nds
        return max(0, min((cell + 1) * count, 32 * (pixel + 1)) - max(cell * count, 32 * pixel))

    down = [[share(i, y, height) for y in range(height)] for i in range(32)]
    across = [[share(i, x, width) for x in range(width)] for i in range(32)]
    rows = [[sum(w * line[x] for x, w in enumerate(cell) if w) for cell in across] for line in gray]
    means = [
        [256 * sum(w * rows[y][j] for y, w in enumerate(cell) if w) // (height * width) for j in range(32)]
        for cell in down
    ]
    wave = [[round(8192 * math.cos(math.pi * (2 * x + 1) * k / 64)) for x in range(32)] for k in range(8)]
    half = [[sum(wave[v][x] * line[x] for x in range(32)) for v in range(8)] for line in means]
    low = [sum(wave[u][y] * half[y][v] for y in range(32)) for u in range(8) for v in range(8)]
    median = sum(sorted(low)[31:33]) / 2
    bits = [1] + [int(value > median) for value in low[1:]]
    return int("".join(map(str, bits)), 2)


@pytest.mark.parametrize("shape", [(32, 32), (120, 160), (64, 33), (31, 200), (7, 5), (1, 1), (1, 90), (97, 3)])
def test_the_hash_is_as_defined(shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(shape[0]).integers(0, 256, shape, dtype=np.uint8)
    assert hashed(encoded(gray)) == [oracle(gray.tolist())]
    assert hashed(raw(gray, "mono8", pad=3)) == [oracle(gray.tolist())]


def test_cosines_are_far_from_where_machines_could_round_differently() -> None:
    parts = [8192 * math.cos(math.pi * (2 * x + 1) * k / 64) % 1 for x in range(32) for k in range(8)]
    assert min(abs(part - 0.5) for part in parts) > 1e-6


def test_a_picture_is_near_itself_and_far_from_others() -> None:
    base = picture(1)
    noisy = np.clip(base + np.random.default_rng(0).normal(0, 6, base.shape), 0, 255).astype(np.uint8)
    hashes = hashed(
        encoded(base),
        encoded(base, "JPEG", quality=60),
        encoded(noisy, "JPEG", quality=90),
        encoded(np.asarray(Image.fromarray(base).resize((640, 480))), "JPEG"),
        encoded(base // 2 + 40),
        encoded(base, "WEBP", quality=80),
        encoded(base, "BMP"),
        encoded(base, "GIF"),
        encoded(base, "PPM"),
        encoded(base, "JPEG2000"),
    )
    assert all(distance(hashes[0], other) <= 6 for other in hashes[1:])
    others = hashed(*(encoded(picture(seed)) for seed in range(40)))
    far = [distance(a, b) for i, a in enumerate(others) for b in others[:i]]
    assert min(far) > 6
    assert 28 < np.mean(far) < 36


def test_a_jpeg_is_decoded_at_an_eighth_and_without_colours() -> None:
    assert np.shape(luma.luma(encoded(picture(2, 480, 640), "JPEG"))) == (60, 80)
    assert np.shape(luma.luma(encoded(picture(2, 70, 90), "JPEG"))) == (35, 45)
    assert np.shape(luma.luma(encoded(picture(2, 40, 30), "JPEG"))) == (40, 30)


def test_raw_pixels_have_the_hash_of_the_same_pixels_in_a_file() -> None:
    colour = picture(3)
    alpha = np.dstack([colour, np.full(colour.shape[:2], 7, np.uint8)])
    expected = hashed(encoded(colour))[0]
    reverse = np.ascontiguousarray(colour[..., ::-1])
    messages = [
        raw(colour, "rgb8"),
        raw(reverse, "bgr8", pad=5),
        raw(reverse, "8UC3"),
        raw(alpha, "rgba8"),
        raw(np.ascontiguousarray(alpha[..., [2, 1, 0, 3]]), "bgra8"),
    ]
    assert hashed(*messages) == [expected] * len(messages)


def test_depth_is_taken_as_it_is() -> None:
    depth = np.random.default_rng(4).integers(0, 65536, (60, 80)).astype(np.uint16)
    expected = oracle(depth.tolist())
    big = raw(depth.astype(">u2"), "16UC1", is_bigendian=1)
    assert hashed(raw(depth, "16UC1"), raw(depth, "mono16", pad=2), big) == [expected] * 3
    assert hashed(encoded(depth)) == [expected]
    floats = depth.astype(np.float32)
    assert distance(hashed(raw(floats, "32FC1"))[0], expected) <= 1
    holes = floats.copy()
    holes[::7] = np.nan
    holes[3, 3] = np.inf
    assert hashed(raw(holes, "32FC1"))[0] is not None
    assert hashed(raw(np.full((9, 9), np.nan, np.float32), "32FC1")) == [FLAT]


def test_images_that_are_the_same_all_over_are_equal() -> None:
    flat = [encoded(np.full((50, 60), value, np.uint8), form) for value in (0, 1, 128, 255) for form in ("PNG", "JPEG")]
    assert set(hashed(*flat)) == {FLAT}
    assert hashed(raw(np.zeros((480, 640), np.uint8), "mono8")) == [FLAT]


def test_other_modes() -> None:
    base = Image.fromarray(picture(5))
    made = []
    for mode in ("1", "L", "LA", "P", "PA", "RGBA", "CMYK"):
        out = BytesIO()
        image = base.convert("RGBA").convert(mode) if mode == "PA" else base.convert(mode)
        if mode == "P":
            image.save(out, "PNG", transparency=bytes(range(16)))
        else:
            image.convert("RGBA" if mode == "PA" else mode).save(out, "JPEG" if mode == "CMYK" else "PNG")
        made.append(out.getvalue())
    hashes = hashed(encoded(np.asarray(base)), *made)
    assert all(distance(hashes[0], other) <= 8 for other in hashes[1:])


def test_hashes_stay_as_they_are() -> None:
    assert hashed(3, None, 2**64 - 1) == [3, None, 2**64 - 1]
    assert hashed(None, None) == [None, None]


def test_a_message_with_bytes_of_an_image() -> None:
    png = encoded(picture(6))
    messages = [{"format": "png", "data": png}, {"format": "png", "data": None}, None]
    assert hashed(*messages) == [hashed(png)[0], None, None]


def test_bad_bytes_are_null() -> None:
    jpeg, png = encoded(picture(7), "JPEG"), encoded(picture(7))
    bad = [
        b"",
        b"\xff\xd8\xff",
        b"no image",
        jpeg[:400],
        png[:400],
        png[:50],
        b"P5 9 9 255 ",
        b"P",
        b"RIFF____WEBPVP8 ",
    ]
    bad += [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a", b"BM" + bytes(60), b"\xff\x4f\xff\x51"]
    assert hashed(*bad, None) == [None] * (len(bad) + 1)


def test_changed_bytes_do_no_harm() -> None:
    rng = np.random.default_rng(8)
    base, forms = picture(8, 48, 64), ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "JPEG2000")
    images = []
    for form in forms:
        good = np.frombuffer(encoded(base, form), np.uint8)
        for _ in range(60):
            changed = good.copy()
            changed[rng.integers(0, min(len(good), 300), 4)] = rng.integers(0, 256, 4)
            images.append(changed[: rng.integers(8, len(good) + 1)].tobytes())
    assert len(hashed(*images)) == len(images)


def test_what_a_header_claims_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    png = bytearray(encoded(np.zeros((9, 9), np.uint8)))
    png[16:24] = (100_000).to_bytes(4) * 2
    jpeg = bytearray(encoded(np.zeros((9, 9), np.uint8), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff" * 2
    assert hashed(bytes(png), bytes(jpeg), b"P5 100000 100000 255 ") == [None] * 3
    assert hashed(encoded(np.zeros((64, 64), np.uint8))) == [FLAT]
    monkeypatch.setattr(luma, "MOST_PIXELS", 64 * 64 - 1)
    assert hashed(encoded(np.zeros((64, 64), np.uint8))) == [None]
    assert hashed(raw(np.zeros((64, 64), np.uint8), "mono8")) == [None]


def test_raw_images_that_do_not_fit_their_bytes_are_null() -> None:
    good = raw(picture(9), "rgb8")
    wrong = [
        {"height": 121}, {"width": 161}, {"step": 479}, {"step": 2**31}, {"height": 0}, {"width": 0}, {"data": b""},
        {"encoding": "yuv422"}, {"encoding": None}, {"data": None}, {"height": None}, {"height": 2**32 - 1},
        {"height": 2**31, "width": 2**31, "step": 0}, {"height": -1}, {"width": -1}, {"step": -480},
    ]  # fmt: skip
    assert hashed(good, *({**good, **change} for change in wrong), None) == [hashed(good)[0]] + [None] * 17
    cut = {**good, "data": good["data"][:-1]}
    assert hashed(good, cut)[1] is None


@pytest.mark.parametrize("values", [["text"], [1.5], [[1, 2]], [{"height": 1}]])
def test_other_types_are_an_error(values: list) -> None:
    with pytest.raises(SchemaError, match="phash takes"):
        luma.hashes(pl.Series(values))


def test_threads_and_batches_do_not_matter() -> None:
    images = pl.Series([encoded(picture(seed, 40, 50)) for seed in range(300)])
    expected = luma.hashes(images).to_list()
    assert luma.hashes(images[250:]).to_list() == expected[250:]
    # Each thread a Series of its own: Polars 1.44 can stop for ever where two call one at once.
    copies = [images.clone() for _ in range(3)]
    found: list = []
    threads = [threading.Thread(target=lambda own=own: found.append(luma.hashes(own).to_list())) for own in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_real_images(real_data: Path) -> None:
    paths = sorted((real_data / "image").glob("*.jpg"))
    if not paths:
        pytest.skip("no JPEG in the folder of real recordings")
    for path in paths:
        full = np.asarray(Image.open(path).convert("RGB"))
        small, whole = hashed(path.read_bytes(), encoded(full))
        assert distance(small, whole) <= 4


THRESHOLDS = [1.0, 0.99, 0.97, 0.95, 0.93, 0.9, 0.88, 0.84, 0.8, 0.75]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_no_pair_at_or_above_the_threshold_is_missed(threshold: float) -> None:
    method = Phash(threshold)
    rng = np.random.default_rng(method.distance)
    hashes, others = rng.integers(0, 2**64, 2000, dtype=np.uint64), []
    for bits in rng.integers(0, method.distance + 1, 2000):
        flips = rng.choice(64, bits, replace=False).astype(np.uint64)
        others.append(np.bitwise_or.reduce(np.uint64(1) << flips, initial=np.uint64(0)))
    pair = hashes ^ np.array(others)
    left, right = method.keys(pl.Series(hashes)).bands, method.keys(pl.Series(pair)).bands
    assert left.shape == (method.bands, 2000)
    assert (left == right).any(axis=0).all()


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_masks_cover_every_choice_of_bits(threshold: float) -> None:
    method = Phash(threshold)
    assert 1 - method.distance / 64 >= threshold > 1 - (method.distance + 1) / 64
    # Of every choice of `distance` chunks that differ, some mask is free: by counting the chunks that a mask has.
    edges = sorted({0, 64} | {i for mask in method.masks for i in range(1, 64) if (mask >> i ^ mask >> (i - 1)) & 1})
    chunks = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    held = [sum(bool(mask & chunk) for chunk in chunks) for mask in method.masks]
    assert len(set(held)) == 1
    assert len(chunks) - held[0] == method.distance
    assert len(set(method.masks)) == math.comb(len(chunks), held[0])


def test_keys_are_selective_at_the_usual_threshold() -> None:
    method = Phash()
    hashes = np.random.default_rng(0).integers(0, 2**64, 3000, dtype=np.uint64)
    bands = method.keys(pl.Series(hashes)).bands
    shared = sum(int((np.unique(band, return_counts=True)[1] ** 2).sum()) - 3000 for band in bands)
    assert shared / 3000**2 < 0.002


def test_similarity_is_the_share_of_equal_bits() -> None:
    rng = np.random.default_rng(1)
    hashes = np.concatenate([rng.integers(0, 2**64, 60, dtype=np.uint64), np.array([0, 2**64 - 1], np.uint64)])
    hashes = np.concatenate([hashes, hashes ^ np.uint64(5)])
    held = Phash().hold(iter([pl.Series(hashes[:50]), pl.Series(hashes[50:])]), len(hashes))
    left, right = (side.ravel() for side in np.indices((len(hashes), len(hashes))))
    expected = np.array([1 - distance(int(a), int(b)) / 64 for a, b in zip(hashes[left], hashes[right])])
    assert verify(left, right, held, 0.0).tolist() == expected.tolist()
    assert verify(left, right, held, 0.9).tolist() == np.where(expected >= 0.9, expected, -1).tolist()
    assert similarity(np.uint64(0), np.uint64(2**64 - 1)) == 0.0


def test_nulls_are_not_there_and_equal_hashes_are_the_same() -> None:
    keys = Phash().keys(pl.Series([7, None, 7, 8], dtype=pl.UInt64))
    assert keys.there.tolist() == [True, False, True, True]
    assert keys.same is not None
    assert (keys.same[:, 0] == keys.same[:, 2]).all()
    assert (keys.same[:, 0] != keys.same[:, 3]).any()
    assert Phash().keys(pl.Series([], dtype=pl.UInt64)).bands.shape == (28, 0)


@pytest.mark.parametrize("threshold", [0.7, 0, -1, 1.01, math.nan])
def test_thresholds_that_mean_nothing(threshold: float) -> None:
    with pytest.raises(OptionError, match=r"0\.75 to 1"):
        Phash(threshold)


def test_hashes_of_another_type() -> None:
    with pytest.raises(SchemaError, match="UInt64"):
        Phash().keys(pl.Series([1, 2]))
