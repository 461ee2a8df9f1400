"""`cocos correspond`: where each pixel of an input lies in its exemplar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import cocosnet
import numpy as np

from cocoscli.data.encoding import encode_image
from cocoscli.data.flow import dense_displacement, displacement_at, nearest_cells
from cocoscli.data.flow_files import SUFFIXES, encode_flo, encode_kitti, encode_npz
from cocoscli.data.images import Size
from cocoscli.data.points import Carried, PointFile, encode_points, scaled
from cocoscli.data.shards import Sample
from cocoscli.engine.files import file_name
from cocoscli.engine.items import Item, PairReader
from cocoscli.engine.match_arrays import MatchArrays, Way, to_arrays, to_way, turned
from cocoscli.engine.match_pictures import match_pictures
from cocoscli.engine.network import Computing
from cocoscli.engine.pairwork import PairWork
from cocoscli.engine.results import Packed
from cocoscli.engine.tensors import to_uint8
from cocoscli.metrics.matches import judge

ENDS = ("input", "exemplar")
"""Where points may lie that are carried to the other image."""


@dataclass(frozen=True, kw_only=True)
class Matching(Computing):
    """What is found and written."""

    draws: bool = False
    format: str = "npz"
    """One of `FLOW_FORMATS`."""
    subpixel: bool = False
    """Matches between cells, where else they are whole cells."""
    warp: bool = False
    """Write the warped exemplar too."""
    points: PointFile | None = None
    """Points that are carried across."""
    points_from: str = "input"
    """One of `ENDS`."""


@dataclass(frozen=True)
class Found:
    """What is written of a pair."""

    match: MatchArrays
    exemplar: int
    carrying: Way | None
    """The way that points take."""
    warped: np.ndarray | None
    """(H,W,3) uint8: for the file or the page."""
    input: np.ndarray | None
    """(H,W,3) uint8: for the page."""


class Correspondence(PairWork[Found]):
    """The work of `cocos correspond` for `batch.run`."""

    def __init__(self, model: cocosnet.CoCosNet, reader: PairReader, matching: Matching) -> None:
        super().__init__(model, reader, matching)
        self.matching = matching

    def make(self, items: list[Item], banks: list[cocosnet.ExemplarBank]) -> list[Found]:
        alone = items[:1] if self.one_input(items) else items
        match = self.match(items, banks, lambda: self._features(alone))
        shown = [item.k < self.matching.gallery for item in items]
        warped = to_uint8(match.warped) if self.matching.warp or any(shown) else None
        carrying = turned(match) if self._from_exemplar else match
        found = []
        for n, (item, show) in enumerate(zip(items, shown, strict=True)):
            arrays = to_arrays(match, n, item.size, subpixel=self.matching.subpixel)
            width, height = item.size
            found.append(
                Found(
                    match=arrays,
                    exemplar=item.exemplar,
                    carrying=self._way(carrying, n, arrays),
                    warped=None if warped is None else warped[n, :height, :width],
                    input=self.input_picture(item) if show else None,
                )
            )
        return found

    @property
    def _from_exemplar(self) -> bool:
        return self.matching.points is not None and self.matching.points_from == "exemplar"

    def _way(self, carrying: cocosnet.Match, n: int, arrays: MatchArrays) -> Way | None:
        if not self._from_exemplar:
            return arrays.there if self.matching.points else None
        return to_way(carrying, n, arrays.exemplar_size, subpixel=self.matching.subpixel)

    def _features(self, items: list[Item]) -> cocosnet.InputFeatures:
        """Inputs encoded by their conditions, or as photos by the exemplars' adaptor."""
        network = self.network
        photos = [item.photo for item in items if item.photo is not None]
        if not photos:
            return network.features(items)
        conditions = [item.condition for item in items]
        condition = network.planes(conditions) if len(conditions[0]) else None
        return network.model.encode_photo(network.photos(photos), condition)

    def output_name(self, k: int) -> str:
        """Where item k's flow lies in the output folder."""
        return file_name(self.key(k), SUFFIXES[self.matching.format])

    def pack(self, k: int, result: Found) -> Packed:
        i, _ = self.reader.pairing.pair(k)
        match, exemplar = result.match, self.reader.exemplars.names[result.exemplar]
        sizes = self.reader.input_size(i), self.reader.exemplars.file_size(result.exemplar)
        flow, counts = self._flow(match, sizes)
        members = {SUFFIXES[self.matching.format]: flow}
        if self.matching.warp and result.warped is not None:
            members["warp.png"] = encode_image(result.warped, "png")
        if self.matching.points and result.carrying:
            carried = list(self._carried(i, exemplar, result, sizes))
            suffix = "json" if self.matching.points.path.suffix.lower() == ".json" else "csv"
            members[f"points.{suffix}"] = encode_points(carried, suffix)
            counts["points"] = len(carried)
        quality = judge(match.there.confidence, match.there.cycle_error, match.mutual, match.usage)
        pictures: dict[str, bytes] = {}
        if result.input is not None and result.warped is not None:
            photo = self.reader.exemplars.read(result.exemplar).photo
            pictures = match_pictures(
                self.key(k), exemplar, match, result.input, photo, result.warped
            ) | self.exemplar_picture(result.exemplar)
        return Packed(
            Sample(self.reader.sample_key(k), members),
            source=self.reader.inputs.sample_key(i),
            columns={"exemplar": exemplar, **asdict(quality), **counts},
            pictures=pictures,
        )

    def _flow(self, match: MatchArrays, sizes: tuple[Size, Size]) -> tuple[bytes, dict[str, int]]:
        """The flow as a file, and what its row counts."""
        if self.matching.format == "npz":
            files = {"file_size": sizes[0], "exemplar_file_size": sizes[1]}
            how = {"subpixel": self.matching.subpixel, "as_photos": self.reader.as_photos}
            return encode_npz({**match.archive(), **files, **how}), {}
        moves = dense_displacement(match.there.flow, match.size)
        if self.matching.format == "flo":
            return encode_flo(moves), {}
        data, invalid = encode_kitti(moves)
        return data, {"invalid_pixels": invalid}

    def _carried(
        self, i: int, exemplar: str, result: Found, files: tuple[Size, Size]
    ) -> Iterator[Carried]:
        """The points of a pair and their matches, in pixels of both files. Raises BadInput."""
        assert self.matching.points and result.carrying
        key = self.reader.inputs.key(i)
        ends = [
            (key, files[0], result.match.size),
            (exemplar, files[1], result.match.exemplar_size),
        ]
        (name, file, seen), (_, to_file, to_seen) = ends[::-1] if self._from_exemplar else ends
        points = self.matching.points.of(name, file)
        if not len(points):
            return
        way = result.carrying
        at = scaled(points.xy, file, seen)
        matched = scaled(at + displacement_at(way.flow, at), to_seen, to_file)
        column, row = nearest_cells(at, way.confidence.shape).T
        pixel = np.sqrt(np.prod(np.divide(file, seen)))
        for n, point in enumerate(points.names):
            cell = row[n], column[n]
            (x, y), (matched_x, matched_y) = points.xy[n].tolist(), matched[n].tolist()
            yield Carried(
                key=key,
                exemplar=exemplar,
                name=point,
                x=x,
                y=y,
                matched_x=matched_x,
                matched_y=matched_y,
                confidence=float(way.confidence[cell]),
                cycle_error=float(way.cycle_error[cell] * pixel),
            )
