"""Search over one person's videos: words and meaning, fused, each hit at the moment it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app import log
from app.adapters import llm
from app.errors import AppError
from app.videos import moments, search
from app.videos import queries_search as queries
from app.videos.embedding import embed
from app.videos.models import Video
from app.videos.moments import Moment, TimedWord
from app.videos.queries_search import Candidate
from app.videos.search import Query, Term
from app.web import settings

logger = log.get(__name__)

DEFAULT_HITS = 10
MOST_HITS = 50
FEWEST_SIMILARITY = 0.25  # unrelated talk lies under 0.15 with the models tried; "nothing found" is an answer
MOMENTS_PER_CHUNK = 3
SPARE_CHUNKS = 6  # beyond those asked for, since neighbours overlap and one moment may be found in both
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
    by_words = queries.find_by_words(owner_id, query.tiers, video_id)
    by_meaning = [
        each for each in _find_by_meaning(owner_id, query, video_id) if search.has_all(each.search_text, query.phrases)
    ]
    hits = _best_moments(query, _score(query, by_words, by_meaning), max(1, min(k, MOST_HITS)))
    videos = queries.titles({each.video_id for each, _, _ in hits})
    return [Hit(videos[each.video_id], moment, round(score, 6)) for each, moment, score in hits]


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
    # Vectors of words have no neighbourhoods to walk through: an index would miss every fifth of the nearest.
    is_lexical = settings().embeddings.is_sandbox
    found = queries.find_by_vector(owner_id, embedder.model, embedded.vectors[0], video_id, is_exact=is_lexical)
    return [each for each in found if (each.similarity or 0) >= FEWEST_SIMILARITY]


def _score(query: Query, by_words: list[Candidate], by_meaning: list[Candidate]) -> list[tuple[Candidate, float]]:
    """Fuse three rankings of chunks: how many of the words occur, how close together, how alike in meaning."""
    matches = {each.id: search.match(each.search_text, query.terms) for each in by_words}
    fewest = 0 if query.phrases else len(query.terms) * search.FEWEST_TERMS_SHARE
    enough = [each for each in by_words if matches[each.id].terms >= max(1, fewest)]
    enough.sort(key=lambda each: (-matches[each.id].terms, -matches[each.id].occurrences))
    nearest = sorted(enough, key=lambda each: (-matches[each.id].near, matches[each.id].span))
    rankings = [enough[: queries.MOST_CANDIDATES], nearest[: queries.MOST_CANDIDATES], by_meaning]
    scores = search.fuse(*([each.id for each in ranking] for ranking in rankings))
    candidates = {each.id: each for each in [*by_meaning, *by_words]}
    return sorted(((candidates[chunk_id], score) for chunk_id, score in scores.items()), key=lambda each: -each[1])


def _best_moments(query: Query, scored: list[tuple[Candidate, float]], k: int) -> list[tuple[Candidate, Moment, float]]:
    """Return the best moments, best first. The cues of a chunk are read only if it may have one of them."""
    hits: list[tuple[Candidate, Moment, float]] = []
    chosen: list[tuple[Candidate, Moment, float]] = []
    for start in range(0, len(scored), k + SPARE_CHUNKS):
        some = scored[start : start + k + SPARE_CHUNKS]
        words = _words_of([candidate for candidate, _ in some], query.terms)
        for candidate, score in some:
            hits += _moments(query, candidate, score, words[candidate.id])
        hits.sort(key=lambda hit: (-hit[2], hit[1].start_seconds))
        chosen = _without_doubles(hits)
        if len(chosen) >= k:
            break
    return chosen[:k]


def _words_of(candidates: list[Candidate], terms: Sequence[Term]) -> dict[UUID, list[TimedWord]]:
    """Return what of each chunk a moment can be made of, word by word: its own, though a cue may hold others."""
    cues = {chunk_id: moments.near(texts, terms) for chunk_id, texts in queries.list_cue_texts(candidates).items()}
    words = queries.list_cue_words({(each.transcript_id, cue.index) for each in candidates for cue in cues[each.id]})
    return {
        each.id: [
            TimedWord(text, start, end, cue.index, cue.start_seconds)
            for cue in cues[each.id]
            for text, start, end, *_ in words[each.transcript_id, cue.index]
            if each.start_seconds <= start and end <= each.end_seconds + 0.001
        ]
        for each in candidates
    }


def _moments(
    query: Query, candidate: Candidate, score: float, words: list[TimedWord]
) -> list[tuple[Candidate, Moment, float]]:
    """Find the best moments of a chunk; a second one counts only if it has as many of the words as the first."""
    hits: list[tuple[Candidate, Moment, float]] = []
    first = moment = moments.locate(words, query.terms) or moments.opening(words)
    for number in range(MOMENTS_PER_CHUNK):
        if moment is None or first is None or moment.terms_found < first.terms_found:
            break
        hits.append((candidate, moment, score / (1 + number / 10)))
        words = [word for word in words if not moment.start_seconds <= word.start <= moment.end_seconds]
        moment = moments.locate(words, query.terms)
    return hits


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
