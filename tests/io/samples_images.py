"""Small valid image files of each format and mode, made by Pillow."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

FORMS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "ppm": "PPM", "tif": "TIFF",
         "jp2": "JPEG2000"}  # fmt: skip


def picture(seed: int = 0, height: int = 30, width: int = 40) -> np.ndarray:
    """(height, width, 3) uint8: smooth, so that JPEG keeps about what it is."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(x * (7 + seed + c) / width + y * (4 + c) / height) for c in range(3)]
    return np.stack(planes, -1).astype(np.uint8)


def encoded(image: np.ndarray | Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    made = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    made.save(out, form, **options)
    return out.getvalue()


def samples() -> dict[str, bytes]:
    """File name and bytes of each."""
    rgb = Image.fromarray(picture())
    found = {f"rgb.{end}": encoded(rgb, form) for end, form in FORMS.items()}
    found |= {f"grey.{end}": encoded(rgb.convert("L"), form) for end, form in FORMS.items() if end != "webp"}
    found["progressive.jpg"] = encoded(rgb, "JPEG", progressive=True)
    found["cmyk.jpg"] = encoded(rgb.convert("CMYK"), "JPEG")
    found["alpha.png"] = encoded(rgb.convert("RGBA"))
    found["palette.png"] = encoded(rgb.convert("P"))
    found["depth.png"] = encoded(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    found["lzw.tif"] = encoded(rgb, "TIFF", compression="tiff_lzw")
    found["animated.gif"] = encoded(rgb, "GIF", save_all=True, append_images=[rgb.convert("L")])
    return found
