"""The composition root's other half: parts that only scripts need, so that a web worker never loads them."""

from __future__ import annotations
