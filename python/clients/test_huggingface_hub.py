"""Tests huggingface_hub's InferenceClient with the server's URL, to which it posts directly."""

import unittest

import numpy as np
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from server import ServerCase

LONG = "one word more " * 5000


class Vectors(ServerCase):
    head = "masked-lm"

    def setUp(self):
        self.client = InferenceClient(self.server.url)

    def test_feature_extraction(self):
        one = self.client.feature_extraction("Where is my parcel?")
        two = self.client.feature_extraction(["Where is my parcel?", "The cat sat."])
        self.assertEqual(one.shape, (1, two.shape[1]))
        self.assertEqual(two.dtype, np.float32)
        np.testing.assert_allclose(np.linalg.norm(two, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(one[0], two[0])
        self.assertGreater(np.abs(two[0] - two[1]).max(), 1e-3)

    def test_feature_extraction_parameters(self):
        plain = self.client.feature_extraction("Where is my parcel?", normalize=False)
        unit = self.client.feature_extraction("Where is my parcel?", normalize=True)
        self.assertGreater(abs(np.linalg.norm(plain) - 1), 1e-3)
        np.testing.assert_allclose(plain / np.linalg.norm(plain), unit, atol=1e-6)
        short = self.client.feature_extraction("Where is my parcel?", dimensions=8)
        self.assertEqual(short.shape, (1, 8))
        head = unit[:, :8] / np.linalg.norm(unit[:, :8])
        np.testing.assert_allclose(short, head, atol=1e-6)

    def test_too_long_is_refused_or_cut(self):
        with self.assertRaises(HfHubHTTPError) as refused:
            self.client.feature_extraction(LONG)
        self.assertEqual(refused.exception.response.status_code, 422)
        self.assertIn("must have less than", str(refused.exception.response.text))
        end_cut = self.client.feature_extraction(LONG + "end", truncate=True)
        start_cut = self.client.feature_extraction(
            LONG + "end", truncate=True, truncation_direction="left"
        )
        self.assertGreater(np.abs(end_cut - start_cut).max(), 1e-6)

    def test_the_endpoint_itself(self):
        client = InferenceClient(self.server.url, provider="hf-inference")
        self.assertTrue(client.health_check())
        info = client.get_endpoint_info()
        self.assertEqual(info["max_client_batch_size"], 32)
        self.assertIn("embedding", info["model_type"])

    def test_sentence_similarity(self):
        sentences = ["Where is my parcel?", "The cat sat."]
        found = self.client.sentence_similarity("Where is my parcel?", sentences)
        self.assertEqual(len(found), 2)
        self.assertAlmostEqual(found[0], 1, places=4)
        self.assertLess(found[1], 0.999)

    def test_fill_mask(self):
        found = self.client.fill_mask("The [MASK] sat.", top_k=3)
        self.assertEqual(len(found), 3)
        scores = [one.score for one in found]
        self.assertEqual(scores, sorted(scores, reverse=True))
        for one in found:
            self.assertIsInstance(one.token, int)
            self.assertTrue(one.token_str)
            self.assertNotIn("[MASK]", one.sequence)
            self.assertTrue(one.sequence.endswith("sat."), one.sequence)
        self.assertEqual(len(self.client.fill_mask("The [MASK] sat.")), 5)


class Labels(ServerCase):
    head = "classify"
    labels = ("calm", "angry", "other")

    def setUp(self):
        self.client = InferenceClient(self.server.url)

    def test_text_classification(self):
        found = self.client.text_classification("Where is my parcel?")
        self.assertEqual({one.label for one in found}, set(self.labels))
        self.assertAlmostEqual(sum(one.score for one in found), 1, places=4)
        scores = [one.score for one in found]
        self.assertEqual(scores, sorted(scores, reverse=True))

    def test_text_classification_parameters(self):
        self.assertEqual(len(self.client.text_classification("Where?", top_k=2)), 2)
        raw = self.client.text_classification("Where?", function_to_apply="none")
        self.assertGreater(abs(sum(one.score for one in raw) - 1), 1e-3)


class Entities(ServerCase):
    head = "tag"
    labels = ("O", "B-PLACE", "I-PLACE")
    # Characters outside the basic plane: offsets count characters, as Python does.
    text = "Ada \U0001f600 lives in Zürich, not in Berlin, and works for a firm in Oslo."

    def test_token_classification(self):
        client = InferenceClient(self.server.url)
        found = client.token_classification(self.text)
        self.assertTrue(found, "random weights find something in so many tokens")
        for one in found:
            self.assertEqual(one.entity_group, "PLACE")
            self.assertEqual(one.word, self.text[one.start : one.end])
            self.assertTrue(0 < one.score <= 1)
        starts = [one.start for one in found]
        self.assertEqual(starts, sorted(starts))

    def test_token_classification_parameters(self):
        client = InferenceClient(self.server.url)
        tokens = client.token_classification(self.text, aggregation_strategy="none", ignore_labels=[])
        self.assertEqual({one.entity for one in tokens}, set(self.labels))
        for strategy in ("simple", "first", "average", "max"):
            found = client.token_classification(self.text, aggregation_strategy=strategy, stride=8)
            self.assertEqual({one.entity_group for one in found}, {"PLACE"}, strategy)


class Entailment(ServerCase):
    head = "classify"
    labels = ("contradiction", "neutral", "entailment")

    def test_zero_shot_classification(self):
        client = InferenceClient(self.server.url)
        candidates = ["banking", "sports", "travel"]
        found = client.zero_shot_classification("My card was stolen", candidates)
        self.assertEqual({one.label for one in found}, set(candidates))
        self.assertAlmostEqual(sum(one.score for one in found), 1, places=4)
        template = "It is about {}."
        alone = client.zero_shot_classification("My card", candidates, multi_label=True, hypothesis_template=template)
        scores = [one.score for one in alone]
        self.assertEqual(scores, sorted(scores, reverse=True))


if __name__ == "__main__":
    unittest.main()
