"""Tests Haystack's embedders and rankers: for OpenAI, text-embeddings-inference and Cohere."""

import numpy as np
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.huggingface_api import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
)
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

from server import ServerCase, texts

QUERY = "Where is my parcel?"
KEY = Secret.from_token("none is needed")


class Embedders(ServerCase):
    model = "embedded:embed"

    def check(self, of_documents, of_text):
        contents = texts(100)
        done = of_documents.run([Document(content=text) for text in contents])["documents"]
        self.assertEqual([one.content for one in done], contents)
        found = [one.embedding for one in done]
        np.testing.assert_allclose(found, self.server.vectors(contents), atol=1e-6)
        query = of_text.run(QUERY)["embedding"]
        np.testing.assert_allclose([query], self.server.vectors([QUERY]), atol=1e-6)

    def test_openai(self):
        options = {"api_base_url": f"{self.server.url}/v1", "api_key": KEY, "model": "embed"}
        options["max_retries"] = 0
        self.check(
            OpenAIDocumentEmbedder(batch_size=100, progress_bar=False, **options),
            OpenAITextEmbedder(**options),
        )

    def test_text_embeddings_inference(self):
        options = {
            "api_type": "text_embeddings_inference",
            "api_params": {"url": self.server.url},
            "token": None,
            "normalize": True,
        }
        self.check(
            HuggingFaceAPIDocumentEmbedder(progress_bar=False, **options),
            HuggingFaceAPITextEmbedder(**options),
        )


class Rankers(ServerCase):
    head = "classify"
    labels = ("relevance",)
    # The route of text-embeddings-inference keeps its limit of 32 unless told otherwise, as the original.
    options = ("--max-client-batch-size", "128")

    def check(self, ranker, count):
        contents = texts(count)
        documents = [Document(content=text) for text in contents]
        found = ranker.run(query=QUERY, documents=documents)["documents"]
        scores = self.server.scores(QUERY, contents)
        best = sorted(range(count), key=lambda n: -scores[n])[:10]
        self.assertEqual([one.content for one in found], [contents[n] for n in best])
        np.testing.assert_allclose([one.score for one in found], [scores[n] for n in best])

    def test_text_embeddings_inference(self):
        self.check(HuggingFaceTEIRanker(url=self.server.url, top_k=10, token=None), 100)

    def test_cohere(self):
        ranker = CohereRanker(
            model="reranker", top_k=10, api_key=KEY, api_base_url=self.server.url
        )
        self.check(ranker, 100)
