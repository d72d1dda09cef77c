"""Pictures of the best faces, cut out while their frame is at hand; of the others nothing is kept but numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.domain import FaceBox, ImageBgr
from app.images import encode_jpeg
from app.services.video.records import SeenFace
from app.services.video.tracks import Track

SIDE = 256  # pixels, the long side of a crop at most
_MARGIN = 0.35  # of the box's longer side, on each side, as for faces of the gallery
_AMPLE_BYTES = 64 * 1024 * 1024  # of crops; beyond it a track keeps its best one only


class Crops:
    """Keeps the crops of each track's best faces.

    :param per_track: so many of them.
    """

    def __init__(self, per_track: int) -> None:
        self._per_track = per_track
        self._held_bytes = 0

    def take(self, track: Track, pixels: ImageBgr) -> None:
        """Cut out the track's last face if it is one of the best, in the place of the poorest that has a crop.

        :param pixels: (H, W, 3) uint8, BGR, the frame that the face is of.
        """
        kept = [place for place, face in enumerate(track.faces) if face.crop_jpeg]
        most = self._per_track if self._held_bytes < _AMPLE_BYTES else 1
        if len(kept) >= most:
            poorest = min(kept, key=lambda place: (track.faces[place].quality.score, -track.faces[place].at_s))
            if track.last.quality.score <= track.faces[poorest].quality.score:
                return
            self._held_bytes -= len(track.faces[poorest].crop_jpeg)
            track.faces[poorest] = replace(track.faces[poorest], crop_jpeg=b"")
        crop = encode_jpeg(_with_margin(pixels, track.last.box), SIDE)
        self._held_bytes += len(crop)
        track.faces[-1] = replace(track.last, crop_jpeg=crop)


def best_crops(faces: Sequence[SeenFace], count: int) -> tuple[SeenFace, ...]:
    """The faces, with crops for the best `count` that have one."""
    with_crop = sorted((face for face in faces if face.crop_jpeg), key=lambda face: (-face.quality.score, face.at_s))
    surplus = {id(face) for face in with_crop[count:]}
    return tuple(replace(face, crop_jpeg=b"") if id(face) in surplus else face for face in faces)


def _with_margin(pixels: ImageBgr, box: FaceBox) -> ImageBgr:
    margin = round(_MARGIN * max(box.w, box.h))
    return pixels[max(0, box.y - margin) : box.y + box.h + margin, max(0, box.x - margin) : box.x + box.w + margin]
