"""Tests Cohere's client with the server's URL as its base URL."""

import cohere
import numpy as np
from cohere.core.api_error import ApiError

from server import ServerCase, texts

QUERY = "Where is my parcel?"


def client_of(server):
    return cohere.ClientV2(api_key="none is needed", base_url=server.url)


class Embed(ServerCase):
    model = "embedded:embed"

    def embed(self, **given):
        client = client_of(self.server)
        return client.embed(model="embed", input_type="search_document", **given)

    def test_texts(self):
        documents = texts(96)
        found = self.embed(texts=documents, embedding_types=["float"])
        np.testing.assert_allclose(
            found.embeddings.float_, self.server.vectors(documents), atol=1e-6
        )
        self.assertEqual(found.texts, documents)
        self.assertGreater(found.meta.billed_units.input_tokens, 96)
        self.assertTrue(found.id)

    def test_inputs_and_dimensions(self):
        content = [{"type": "text", "text": QUERY}]
        found = self.embed(inputs=[{"content": content}], output_dimension=8)
        whole = np.array(self.server.vectors([QUERY]))[:, :8]
        expected = whole / np.linalg.norm(whole, axis=1)
        np.testing.assert_allclose(found.embeddings.float_, expected, atol=1e-5)

    def test_images_are_refused_by_name(self):
        with self.assertRaises(ApiError) as refused:
            self.embed(images=["data:image/png;base64,AA=="])
        self.assertEqual(refused.exception.status_code, 400)
        self.assertIn("images", refused.exception.body["message"])


class Rerank(ServerCase):
    head = "classify"
    labels = ("relevance",)

    def test_rerank(self):
        documents = texts(100)
        client = client_of(self.server)
        found = client.rerank(model="reranker", query=QUERY, documents=documents, top_n=7)
        scores = self.server.scores(QUERY, documents)
        best = sorted(range(100), key=lambda n: -scores[n])[:7]
        self.assertEqual([one.index for one in found.results], best)
        np.testing.assert_allclose(
            [one.relevance_score for one in found.results], [scores[n] for n in best]
        )

    def test_refusals_are_errors_that_the_client_knows(self):
        with self.assertRaises(cohere.BadRequestError) as refused:
            client_of(self.server).rerank(model="reranker", query=QUERY, documents=[])
        self.assertIn("documents", str(refused.exception))
