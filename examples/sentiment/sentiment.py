"""Is a sentence kind or unkind? The lexicon is inside the package: no download."""

from __future__ import annotations

from typing import TypedDict

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

analyzer = SentimentIntensityAnalyzer()


class Sentiment(TypedDict):
    label: str
    score: float


def predict(text: str) -> Sentiment:
    """Judge one sentence; the score goes from -1 (unkind) to 1 (kind)."""
    score = analyzer.polarity_scores(text)["compound"]
    label = "positive" if score >= 0.05 else "negative" if score <= -0.05 else "neutral"
    return {"label": label, "score": score}
