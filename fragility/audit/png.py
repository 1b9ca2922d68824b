"""Small pictures inside the page: PNG written by hand, since neither Pillow nor matplotlib need be installed."""

import base64
import struct
import zlib

import numpy as np

#: Dark to bright in even steps of lightness, in print as on the screen: seventeen colours of the map magma.
MAGMA = ("000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 "
         "fde2a3 fcfdbf")
LEVELS = 32     # of a map: the eye tells no more apart at this size, and a noisy map takes half the bytes of 256


def _palette() -> np.ndarray:
    """Colours, uint8 (LEVELS, 3), of the levels of a map."""
    known = np.array([list(bytes.fromhex(one)) for one in MAGMA.split()])
    at = np.linspace(0, len(known) - 1, LEVELS)
    return np.stack([np.interp(at, np.arange(len(known)), channel) for channel in known.T], 1).round().astype(np.uint8)


def png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """A PNG file of pixels, uint8 (h, w) or (h, w, 3); those of a palette (colours, 3) are places in it."""
    height, width = pixels.shape[:2]
    kind = 3 if palette is not None else 2 if pixels.ndim == 3 else 0
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)    # each unfiltered
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
            + (_chunk(b"PLTE", palette.tobytes()) if palette is not None else b"")
            + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + _chunk(b"IEND", b""))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def uri(data: bytes) -> str:
    """A PNG file as an address that holds the file itself."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def of_map(values: np.ndarray) -> str:
    """Address of the picture of a map, uint8 (h, w)."""
    return uri(png((values.astype(np.uint16) * LEVELS // 256).astype(np.uint8), _palette()))


def of_image(values: np.ndarray) -> str:
    """Address of the picture of an image, uint8 (c, h, w); grey where it has neither one channel nor three."""
    return uri(png(np.moveaxis(values, 0, 2) if len(values) == 3 else values.mean(0).round().astype(np.uint8)))
