"""Search over one person's videos: words and meaning, fused, each hit at the moment it is said."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app import log
from app.adapters import llm
from app.errors import AppError
from app.lib.words import Word
from app.videos import queries_transcript as queries
from app.videos import search
from app.videos.embedding import embed
from app.videos.models import Segment, Video
from app.videos.queries_transcript import Candidate
from app.videos.search import Moment, Query, TimedWord

logger = log.get(__name__)

DEFAULT_HITS = 10
MOST_HITS = 50
FEWEST_SIMILARITY = 0.25  # unrelated talk lies under 0.15 with the models tried; "nothing found" is an answer
MOMENTS_PER_CHUNK = 3
PATIENCE_SECONDS = 4.0  # for the query's vector; whoever searches is waiting, and words can decide alone


@dataclass(frozen=True)
class Hit:
    """One moment of one video that answers the query; `score` only orders the hits of one answer."""

    video: Video
    moment: Moment
    score: float


def search_videos(owner_id: UUID, text: str, *, video_id: UUID | None = None, k: int = DEFAULT_HITS) -> list[Hit]:
    """Find what was said in a person's videos.

    Args:
        owner_id: whose videos; those of others are never looked at.
        text: as typed.
        video_id: only in this video.
        k: the most hits, 1..MOST_HITS.

    Returns:
        Hits, best first; none when nothing fits. When the embedding model cannot be reached or paid, words decide.
    """
    query = search.parse(text)
    if not query.terms:
        return []
    by_words = queries.find_by_words(owner_id, query.tsquery, video_id)
    by_meaning = _find_by_meaning(owner_id, query, video_id)
    candidates = {each.id: each for each in [*by_meaning, *by_words]}
    words = _words_of(list(candidates.values()))
    found = _score(query, by_words, by_meaning, words)
    hits = _moments(query, candidates, words, found)
    videos = queries.titles({candidate.video_id for candidate, _, _ in hits})
    chosen = _without_doubles(hits)[: max(1, min(k, MOST_HITS))]
    return [Hit(videos[each.video_id], moment, round(score, 6)) for each, moment, score in chosen]


def _find_by_meaning(owner_id: UUID, query: Query, video_id: UUID | None) -> list[Candidate]:
    """Ask the model set now for the query's vector; chunks of other models are searched by words only."""
    embedder = llm.embedder()
    if embedder.model not in queries.list_models(owner_id, video_id):
        return []
    try:
        embedded = embed(owner_id, [query.text], step="search", patience_seconds=PATIENCE_SECONDS)
    except AppError as error:
        logger.warning("search.by_words_only", error=error.code)
        return []
    found = queries.find_by_vector(owner_id, embedder.model, embedded.vectors[0], video_id)
    return [each for each in found if (each.similarity or 0) >= FEWEST_SIMILARITY]


def _words_of(candidates: list[Candidate]) -> dict[UUID, list[TimedWord]]:
    cues = queries.list_cue_words(candidates)
    spans = {each.id: (each.start_seconds, each.end_seconds) for each in candidates}
    return {
        chunk_id: [
            word
            for segment in segments
            for word in _timed(segment)
            if spans[chunk_id][0] <= word.start and word.end <= spans[chunk_id][1] + 0.001  # its own words only
        ]
        for chunk_id, segments in cues.items()
    }


def _timed(segment: Segment) -> list[TimedWord]:
    return search.timed([Word(*word) for word in segment.words], segment.index, segment.start_seconds)


def _score(
    query: Query, by_words: list[Candidate], by_meaning: list[Candidate], words: dict[UUID, list[TimedWord]]
) -> dict[UUID, float]:
    """Fuse three rankings of chunks: how many of the words occur, how close together, how alike in meaning."""
    count = {each.id: search.count_terms(words[each.id], query.terms) for each in by_words}
    enough = [each for each in by_words if count[each.id] >= len(query.terms) * search.FEWEST_TERMS_SHARE]
    enough.sort(key=lambda each: (-count[each.id], -each.rank))
    nearest = sorted(enough, key=lambda each: _closeness(search.locate(words[each.id], query.terms)))
    return search.fuse([each.id for each in enough], [each.id for each in nearest], [each.id for each in by_meaning])


def _closeness(moment: Moment | None) -> tuple[int, float]:
    return (-moment.terms_found, moment.span_seconds) if moment else (0, 0.0)


def _moments(
    query: Query, candidates: dict[UUID, Candidate], words: dict[UUID, list[TimedWord]], scores: dict[UUID, float]
) -> list[tuple[Candidate, Moment, float]]:
    """Find the best moments of each chunk; a second one counts only if it has as many of the words as the first."""
    hits: list[tuple[Candidate, Moment, float]] = []
    for chunk_id, score in scores.items():
        left = words[chunk_id]
        first = search.locate(left, query.terms) or search.opening(left)
        moment = first
        for number in range(MOMENTS_PER_CHUNK):
            if moment is None or first is None or moment.terms_found < first.terms_found:
                break
            hits.append((candidates[chunk_id], moment, score / (1 + number / 10)))
            left = [word for word in left if not moment.start_seconds <= word.start <= moment.end_seconds]
            moment = search.locate(left, query.terms)
    return sorted(hits, key=lambda hit: (-hit[2], hit[1].start_seconds))


def _without_doubles(hits: list[tuple[Candidate, Moment, float]]) -> list[tuple[Candidate, Moment, float]]:
    """Drop moments that the overlap of two chunks has found twice."""
    chosen: list[tuple[Candidate, Moment, float]] = []
    for hit in hits:
        begins, ends = hit[1].start_seconds, hit[1].end_seconds
        if not any(
            other[0].video_id == hit[0].video_id and other[1].start_seconds < ends and begins < other[1].end_seconds
            for other in chosen
        ):
            chosen.append(hit)
    return chosen
