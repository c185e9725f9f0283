"""Losses of training: every anchor is to find its own occupation among those of its batch."""

import math

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

NO_PAIR, NEGATIVE, POSITIVE = 0, 1, 2


class DistinctLabelRankingLoss(MultipleNegativesRankingLoss):
    """MultipleNegativesRankingLoss as the classifier ranks, over a DistinctLabelCollator's batch.

    Every anchor is to find its own label text among those of the batch, and its own occupation by
    the other anchors, as a title does among the known titles.
    """

    def forward(
        self, sentence_features: list[dict[str, torch.Tensor]], labels: torch.Tensor
    ) -> torch.Tensor:
        parts = [self.model(features)["sentence_embedding"] for features in sentence_features]
        return self.score(torch.cat(parts).float(), labels)

    def score(self, embeddings: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        return self.rank(embeddings, relations(kinds))

    def rank(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return self.rank_labels(embeddings, relation) + self.rank_anchors(embeddings, relation)

    def rank_labels(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every anchor's own label among those it may be compared with."""
        positive = relation == POSITIVE
        anchors = positive.any(dim=1)
        scores = self.similarity_fct(embeddings[anchors], embeddings) * self.scale
        scores = scores.masked_fill(relation[anchors] == NO_PAIR, -math.inf)
        own = positive[anchors].int().argmax(dim=1)
        return torch.nn.functional.cross_entropy(scores, own)

    def rank_anchors(self, embeddings: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every anchor's occupation, known by log-sum-exp of its other anchors."""
        anchors = (relation == POSITIVE).any(dim=1)
        relation, embeddings = relation[anchors], embeddings[anchors]
        own = (relation == POSITIVE).int().argmax(dim=1)
        fair = relation[:, own] != NO_PAIR  # what holds for a label holds for its anchors
        fair.fill_diagonal_(False)
        same = (own[:, None] == own[None, :]) & fair
        accompanied = same.any(dim=1)  # the only anchor of its occupation has none to be found by
        scores = self.similarity_fct(embeddings[accompanied], embeddings) * self.scale
        scores = scores.masked_fill(~fair[accompanied], -math.inf)
        found = scores.masked_fill(~same[accompanied], -math.inf)
        loss = scores.logsumexp(1) - found.logsumexp(1)
        return loss.sum() / len(embeddings)


class OccupationLoss(DistinctLabelRankingLoss):
    """The same, and every anchor is to find its occupation among all by a linear layer."""

    def __init__(
        self, model: SentenceTransformer, scale: float, label_embeddings: torch.Tensor
    ) -> None:
        """
        Args:
            scale: factor on the cosines.
            label_embeddings: unit embeddings of all label texts, (occupations, dimensions); the
                layer starts as their cosines.
        """
        super().__init__(model, scale=scale)
        self.layer = torch.nn.Linear(*label_embeddings.T.shape)
        with torch.no_grad():
            self.layer.weight.copy_(label_embeddings * scale)
            self.layer.bias.zero_()

    def score(self, embeddings: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        return super().score(embeddings, kinds) + self.classify(embeddings, kinds)

    def classify(self, embeddings: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of every anchor's occupation, or any that is listed for its text."""
        anchors = kinds[:, 1] == 0
        right = torch.nn.functional.one_hot(kinds[anchors][:, 0], self.layer.out_features)
        rows, columns = torch.nonzero(kinds[anchors][:, 2:] >= 0, as_tuple=True)
        right[rows, kinds[anchors][rows, columns + 2]] = 1
        unit = torch.nn.functional.normalize(embeddings[anchors])
        with torch.autocast(embeddings.device.type, enabled=False):
            logits = self.layer(unit)
        found = logits.masked_fill(right == 0, -math.inf)
        return (logits.logsumexp(1) - found.logsumexp(1)).mean()


def relations(kinds: torch.Tensor) -> torch.Tensor:
    """What each text is to each other, by "label" of DistinctLabelCollator, (texts, texts).

    For an anchor (row) and a label text (column) POSITIVE or NEGATIVE, else NO_PAIR. No pair either
    is an anchor and another occupation that O*NET lists for the anchor's very text: not this
    sample's positive, but no fair negative.
    """
    occupations, is_label, listed = kinds[:, 0], kinds[:, 1] == 1, kinds[:, 2:]
    same = occupations[:, None] == occupations
    no_negative = (listed[:, :, None] == occupations).any(dim=1)
    relation = torch.where(no_negative, NO_PAIR, NEGATIVE).masked_fill(same, POSITIVE)
    return relation.masked_fill(is_label[:, None] | ~is_label, NO_PAIR)
