"""A face whose parts are known: scikit-image's astronaut, Eileen Collins (NASA, public domain)."""

from __future__ import annotations

import numpy as np
from skimage.data import astronaut

from cocoscli.data.originals import Original
from cocoscli.data.windows import Window, window

LANDMARKS = np.array([
    *((181, 100), (181, 110), (182, 121), (183, 133), (185, 145), (190, 157), (199, 168)),
    *((210, 175), (223, 178), (236, 177), (248, 171), (257, 162), (263, 152), (267, 141)),
    *((269, 129), (270, 116), (270, 102)),
    *((190, 90), (195, 89), (200, 88.5), (206, 90), (212, 92.5)),
    *((238, 93.5), (244, 92.5), (250, 92), (257, 92), (262, 95)),
    *((224, 100), (224, 108), (224, 116), (224, 125)),
    *((214, 129), (219, 131.5), (225, 133), (230, 132), (235, 131)),
    *((193.5, 100.5), (199, 97.5), (205, 98), (211.5, 103), (205, 104.5), (199, 103.5)),
    *((237, 105), (243, 100.5), (250, 100.5), (258.5, 104.5), (251, 106.5), (244, 106.5)),
    *((203, 139.5), (211, 139), (219, 139.5), (225, 140.5), (231, 139.5), (239, 138.5)),
    *((246.5, 138.5), (241, 147.5), (233, 153.5), (224, 155), (215, 152.5), (208, 147)),
    *((205, 140.5), (213, 142), (225, 144), (237, 142.5), (244, 140.5)),
    *((236, 147.5), (224, 150), (212, 147.5)),
])  # fmt: skip
"""(68,2) xy of the 68 common landmarks in the picture, marked by hand."""
CENTRE, SIZES = (225, 130), (260, 300, 340)
"""Of windows around the face, as portraits have it."""


def model_windows() -> list[Window]:
    """The face as a portrait, close and less close."""
    original = Original(astronaut(), None, None)
    return [window(original, np.array(CENTRE), size) for size in SIZES]
