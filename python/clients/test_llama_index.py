"""Tests LlamaIndex's embeddings for text-embeddings-inference and OpenAI-like servers, and its reranker."""

import numpy as np
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

from server import ServerCase, texts

QUERY = "Where is my parcel?"


class Embeddings(ServerCase):
    model = "embedded:embed"

    def check(self, embeddings):
        documents = texts(100)
        expected = self.server.vectors(documents)
        found = embeddings.get_text_embedding_batch(documents)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        query = embeddings.get_query_embedding(QUERY)
        np.testing.assert_allclose([query], self.server.vectors([QUERY]), atol=1e-6)

    def test_text_embeddings_inference(self):
        # Its batches have 10 texts unless told otherwise.
        self.check(TextEmbeddingsInference(model_name="embed", base_url=self.server.url))

    def test_openai_like(self):
        self.check(
            OpenAILikeEmbedding(
                model_name="embed",
                api_base=f"{self.server.url}/v1",
                embed_batch_size=100,
                max_retries=0,
            )
        )


class Reranker(ServerCase):
    head = "classify"
    labels = ("relevance",)

    def test_rerank(self):
        documents = texts(20)
        nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in documents]
        reranker = TextEmbeddingInference(base_url=self.server.url, top_n=5)
        found = reranker.postprocess_nodes(nodes, QueryBundle(QUERY))
        scores = self.server.scores(QUERY, documents)
        best = sorted(range(20), key=lambda n: -scores[n])[:5]
        self.assertEqual([one.node.text for one in found], [documents[n] for n in best])
        np.testing.assert_allclose([one.score for one in found], [scores[n] for n in best])
