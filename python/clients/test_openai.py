"""Tests OpenAI's client with the server's /v1 as its base URL. Without `encoding_format` it requests base64."""

import unittest

import numpy as np
import openai

from server import ServerCase

TEXTS = ["Where is my parcel?", "The cat sat."]


class OpenAi(ServerCase):
    head = "base"

    def setUp(self):
        url = f"{self.server.url}/v1"
        self.client = openai.OpenAI(base_url=url, api_key="none is needed", max_retries=0)

    def embed(self, **given):
        return self.client.embeddings.create(model="text-embedding-3-small", **given)

    def test_floats_and_base64_are_the_same(self):
        floats = self.embed(input=TEXTS, encoding_format="float")
        base64 = self.embed(input=TEXTS)
        self.assertEqual([one.index for one in floats.data], [0, 1])
        for a, b in zip(floats.data, base64.data, strict=True):
            np.testing.assert_array_equal(np.float32(a.embedding), np.float32(b.embedding))
            self.assertAlmostEqual(float(np.linalg.norm(a.embedding)), 1, places=5)
        self.assertEqual(floats.object, "list")
        self.assertGreater(floats.usage.prompt_tokens, 4)
        self.assertEqual(floats.usage.prompt_tokens, floats.usage.total_tokens)

    def test_one_text_and_dimensions(self):
        one = self.embed(input=TEXTS[0], dimensions=8)
        self.assertEqual(len(one.data), 1)
        self.assertEqual(len(one.data[0].embedding), 8)

    def test_token_ids(self):
        found = self.embed(input=[[5, 6, 7], [8, 9]])
        self.assertEqual(len(found.data), 2)
        self.assertEqual(len(self.embed(input=[5, 6, 7]).data), 1)

    def test_refusals_are_errors_that_the_client_knows(self):
        with self.assertRaises(openai.BadRequestError) as refused:
            self.embed(input=[])
        self.assertIn("empty", refused.exception.body["message"])
        with self.assertRaises(openai.BadRequestError):
            self.embed(input="one word more " * 5000)

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual([one.object for one in models], ["model"])


if __name__ == "__main__":
    unittest.main()
