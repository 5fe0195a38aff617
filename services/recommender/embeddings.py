"""Text embeddings by wordllama: 256 numbers a text, offline, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 256


class WordLlamaEmbedder:
    """The :class:`~services.recommender.ports.Embedder` of a running service; ``load`` before use."""

    def __init__(self) -> None:
        # One thread: the tokenizer is parallel by itself, and texts come in batches anyway.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._model: Any = None

    async def load(self) -> None:
        """Reads the model, which takes 0.3 s, from its package; no network."""
        self._model = await asyncio.get_running_loop().run_in_executor(self._executor, _load)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of 256 per text, of length 1 (all zeros for a text without a known word)."""
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._embed, list(texts))

    def close(self) -> None:
        """Lets the thread end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = np.asarray(self._model.embed(texts), dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        return unit


def _load() -> Any:
    import wordllama  # noqa: PLC0415 - a second of imports that only a starting service should pay

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
