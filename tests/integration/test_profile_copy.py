"""Faces that go into the embedded index in binary form are those that were given."""

from __future__ import annotations

import numpy as np

from app.adapters.postgres import Database
from app.services.profiles.postgres_profile_writers import PostgresVectorWriter
from app.services.profiles.writing import ProfileFace
from app.services.stored_values import vector_text
from tests.integration.profile_stores import DIMENSIONS, SPEC

STORED = (
    "SELECT entity_id, position, partition_id, center, features::text FROM profile_faces ORDER BY entity_id, position"
)


def _faces(entity_id: str, seed: int, count: int) -> list[ProfileFace]:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return [ProfileFace(entity_id, n, vector, center=n == 1) for n, vector in enumerate(vectors)]


def test_numbers_are_rounded_as_postgres_rounds_them_and_names_keep_their_letters(migrated_database: Database) -> None:
    faces = [*_faces("Ana Čč-Žž 日本", 1, 3), *_faces("b", 2, 1)]
    PostgresVectorWriter(migrated_database, SPEC).replace(faces)
    with migrated_database.transaction(10, read_only=True) as cursor:
        cursor.execute(STORED)
        stored = cursor.fetchall()
        for face, row in zip(faces, stored, strict=True):
            cursor.execute("SELECT %(text)s::halfvec::text", {"text": vector_text(face.features)})
            ((as_postgres_rounds,),) = cursor.fetchall()
            assert row == (face.entity_id, face.position, face.partition_id, face.center, as_postgres_rounds)


def test_an_entity_that_is_written_again_has_its_new_faces_alone(migrated_database: Database) -> None:
    writer = PostgresVectorWriter(migrated_database, SPEC)
    writer.replace([*_faces("ana", 1, 3), *_faces("bojan", 2, 2)])
    writer.replace(_faces("ana", 3, 1))
    writer.replace([])
    assert writer.count() == 3
    assert writer.present(["ana", "bojan", "cene"]) == {"ana", "bojan"}
