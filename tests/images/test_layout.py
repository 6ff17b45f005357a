"""Columns of images and arrays."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from robodf.images.layout import IMAGE, to_arrays, to_column


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 4)])
def test_arrays_come_back(shape: tuple[int, ...]) -> None:
    images = [np.random.default_rng(k).integers(0, 256, shape).astype(np.uint8) for k in range(3)]
    column = to_column([images[0], None, *images[1:]])
    assert column.dtype == IMAGE
    first, missing, *rest = to_arrays(column)
    assert missing is None
    for image, found in zip(images, [first, *rest]):
        assert np.array_equal(image, found)


def test_depth_images_of_16_bits() -> None:
    image = np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000
    (found,) = to_arrays(to_column([image]))
    assert found is not None
    assert found.dtype == np.uint16
    assert np.array_equal(found, image)


def test_rows_with_padding_and_rows_that_do_not_fit() -> None:
    padded = {"height": 2, "width": 1, "encoding": "rgb8", "step": 4, "data": bytes(range(8))}
    short = {**padded, "data": b"1234567"}
    narrow = {**padded, "step": 2}
    unknown = {**padded, "encoding": "bayer"}
    found = list(to_arrays(pl.Series([padded, short, narrow, unknown], dtype=IMAGE)))
    assert found[0] is not None
    assert found[0].tolist() == [[[0, 1, 2]], [[4, 5, 6]]]
    assert found[1:] == [None, None, None]


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        to_column([np.zeros((2, 2, 2), np.uint8)])
