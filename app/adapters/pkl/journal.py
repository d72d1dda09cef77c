"""The journal beside a PKL: what changed since the file was written, in an SQLite file that every worker reads.

A change is staged first, where no reader counts it, and activated in one step once the database has committed it; the
database's COMMIT is the moment at which it happens. What a crash leaves behind is told by `unsettled`. Removed images
leave their key and nothing else, and `secure_delete` overwrites what is deleted. SQLite's rollback journal and not its
WAL, which would keep copies of removed vectors until its next checkpoint.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.adapters.gallery_files import make_folder, own_as_folder
from app.domain import FaceBox, GalleryFace
from app.errors import StoreUnavailable
from app.gallery_change import FileMove, GalleryChange, UnsettledChange
from app.gallery_view import Overlay, image_key

JOURNAL_NAME = ".journal.sqlite"

_MODE = 0o640  # faces are nobody else's business
_BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (id TEXT PRIMARY KEY, forget INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS moves (
    change_id TEXT NOT NULL REFERENCES changes (id) ON DELETE CASCADE,
    place INTEGER NOT NULL, source TEXT NOT NULL, target TEXT,
    PRIMARY KEY (change_id, place)
);
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    image_key INTEGER NOT NULL,
    staged_by TEXT REFERENCES changes (id) ON DELETE CASCADE,
    folded_at REAL
);
CREATE UNIQUE INDEX IF NOT EXISTS entries_active ON entries (image_key) WHERE staged_by IS NULL;
CREATE TABLE IF NOT EXISTS faces (
    seq INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    person TEXT NOT NULL, image TEXT NOT NULL, image_sha256 TEXT,
    x INTEGER NOT NULL, y INTEGER NOT NULL, w INTEGER NOT NULL, h INTEGER NOT NULL,
    embedding BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS faces_entry ON faces (seq);
"""
_ADD_FACE = """
INSERT INTO faces (seq, person, image, image_sha256, x, y, w, h, embedding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ACTIVE_FACES = """
SELECT f.person, f.image, f.x, f.y, f.w, f.h, f.embedding, f.image_sha256
FROM faces AS f JOIN entries AS e ON e.seq = f.seq WHERE e.staged_by IS NULL
"""


@dataclass(frozen=True, slots=True, eq=False)
class JournalState:
    """What a journal holds at one moment.

    :param last_seq: the newest active entry; 0 where there is none.
    :param is_settled: no change waits to be brought to its end.
    """

    overlay: Overlay
    last_seq: int
    is_settled: bool


NOTHING = JournalState(Overlay.of((), ()), 0, True)


class PklJournal:
    """One domain's journal; each call opens the file, changes it in one transaction and closes it.

    :param path: made at the first change, readable for the owner and the group.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage(self, change: GalleryChange) -> None:
        """Write the change durably, where no reader counts it yet.

        :raises StoreUnavailable: it cannot be written; nothing was.
        """
        with self._writing() as connection:
            connection.execute("INSERT INTO changes (id, forget) VALUES (?, ?)", (change.id, change.forget))
            connection.executemany(
                "INSERT INTO moves (change_id, place, source, target) VALUES (?, ?, ?, ?)",
                [(change.id, place, move.source, move.target) for place, move in enumerate(change.moves)],
            )
            for key, faces in _by_key(change).items():
                _add_entry(connection, change.id, key, faces)

    def activate(self, change_id: str) -> None:
        """Let readers count the change; doing it twice changes nothing.

        :raises StoreUnavailable: it cannot be written; the change stays staged.
        """
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM entries WHERE staged_by IS NULL"
                " AND image_key IN (SELECT image_key FROM entries WHERE staged_by = ?)",
                (change_id,),
            )
            connection.execute("UPDATE entries SET staged_by = NULL WHERE staged_by = ?", (change_id,))

    def finish(self, change_id: str) -> None:
        """Forget that the change was ever under way; with what is still staged of it, if it never happened."""
        with self._writing() as connection:
            connection.execute("DELETE FROM changes WHERE id = ?", (change_id,))

    def unsettled(self) -> list[UnsettledChange]:
        """The changes that were staged and not finished, oldest first.

        :raises StoreUnavailable: the journal cannot be read.
        """
        if not self.path.exists():
            return []
        with self._reading() as connection:
            changes = connection.execute("SELECT id, forget FROM changes ORDER BY rowid").fetchall()
            return [UnsettledChange(id, _moves_of(connection, id), bool(forget)) for id, forget in changes]

    def read(self) -> JournalState:
        """What the journal holds now; nothing where there is none.

        :raises StoreUnavailable: it cannot be read.
        """
        if not self.path.exists():
            return NOTHING
        with self._reading() as connection:
            return read_state(connection)

    def mark_folded(self, last_seq: int) -> None:
        """Note that the gallery file now holds every entry up to `last_seq`."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE entries SET folded_at = ? WHERE folded_at IS NULL AND staged_by IS NULL AND seq <= ?",
                (time.time(), last_seq),
            )

    def prune(self, older_than_s: float) -> int:
        """Drop entries that were folded so long ago that every process has taken the new file; how many."""
        if not self.path.exists():
            return 0
        with self._writing() as connection:
            limit = time.time() - older_than_s
            pruned = connection.execute("DELETE FROM entries WHERE folded_at < ?", (limit,)).rowcount
        with _translated(self.path), closing(connect(self.path)) as connection:
            connection.execute("VACUUM")
        return int(pruned)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path), closing(connect(self.path)) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path):
            _create(self.path)
            with closing(connect(self.path)) as connection:
                connection.executescript(_SCHEMA)
                connection.execute("BEGIN IMMEDIATE")
                yield connection  # an error closes the connection, which rolls back
                connection.execute("COMMIT")


class JournalReader:
    """Follows a journal from a process that answers requests: asking whether it changed takes microseconds.

    Not safe under threads by itself. `PRAGMA data_version` changes with every commit of another connection; the file's
    identity is watched as well, because a restored backup is another file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None

    def changed(self) -> JournalState | None:
        """What the journal holds, if it is not what the last call found.

        :raises StoreUnavailable: the journal cannot be read.
        """
        with _translated(self._path):
            connection = self._opened()
            if connection is None:
                return self._gone()
            ((version,),) = connection.execute("PRAGMA data_version").fetchall()
            if version == self._version:
                return None
            connection.execute("BEGIN")
            try:
                state = read_state(connection)
            finally:
                connection.execute("ROLLBACK")
            self._version = version
            return state

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._file = self._version = None

    def _opened(self) -> sqlite3.Connection | None:
        """The connection to the file that lies there now; None where there is none."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        if self._connection is None or self._file != (status.st_dev, status.st_ino):
            self.close()
            self._connection = connect(self._path)
            self._file = (status.st_dev, status.st_ino)
        return self._connection

    def _gone(self) -> JournalState | None:
        """Nothing, where something was read before."""
        was_read = self._version is not None
        self.close()
        return NOTHING if was_read else None


def connect(path: Path) -> sqlite3.Connection:
    """An open journal in autocommit mode; the caller closes it."""
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def read_state(connection: sqlite3.Connection) -> JournalState:
    """What the journal holds; the caller has begun a transaction, or wants no more than this."""
    active = connection.execute("SELECT image_key, seq FROM entries WHERE staged_by IS NULL").fetchall()
    faces = [_face(row) for row in connection.execute(_ACTIVE_FACES)]
    ((waiting,),) = connection.execute("SELECT count(*) FROM changes").fetchall()
    last_seq = max((seq for _, seq in active), default=0)
    return JournalState(Overlay.of((key for key, _ in active), faces), last_seq, not waiting)


def _by_key(change: GalleryChange) -> dict[int, list[GalleryFace]]:
    entries: dict[int, list[GalleryFace]] = {image_key(image): [] for image in change.removed}
    for face in change.faces:
        entries.setdefault(image_key(face.image), []).append(face)
    return entries


def _add_entry(connection: sqlite3.Connection, change_id: str, key: int, faces: Iterable[GalleryFace]) -> None:
    entry = connection.execute("INSERT INTO entries (image_key, staged_by) VALUES (?, ?)", (key, change_id))
    connection.executemany(_ADD_FACE, [(entry.lastrowid, *_columns(face)) for face in faces])


def _columns(face: GalleryFace) -> tuple[object, ...]:
    box = face.box
    vector = np.asarray(face.embedding, dtype="<f8").tobytes()  # holds float32 exactly as well
    return face.person, face.image, face.image_sha256, box.x, box.y, box.w, box.h, vector


def _face(row: tuple[str, str, int, int, int, int, bytes, str | None]) -> GalleryFace:
    person, image, x, y, w, h, vector, image_sha256 = row
    return GalleryFace(person, image, FaceBox(x, y, w, h), np.frombuffer(vector, dtype="<f8"), image_sha256)


def _moves_of(connection: sqlite3.Connection, change_id: str) -> tuple[FileMove, ...]:
    rows = connection.execute("SELECT source, target FROM moves WHERE change_id = ? ORDER BY place", (change_id,))
    return tuple(FileMove(source, target) for source, target in rows)


def _create(path: Path) -> None:
    """Have the file there with its mode: SQLite would make it readable for everybody."""
    if not path.exists():
        make_folder(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, _MODE))
        path.chmod(_MODE)
        own_as_folder(path)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise this service's error in place of SQLite's or the file system's."""
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        raise StoreUnavailable(
            f"The journal {path.name} of a gallery cannot be used: {exc}.", code="journal_unavailable"
        ) from exc
