"""Tests LiteLLM's SDK, whose prefixes speak to servers of several kinds."""

import os

# Its table of prices would be fetched at import.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import numpy as np

from server import ServerCase, texts

QUERY = "Where is my parcel?"
KEY = "none is needed"


class Embeddings(ServerCase):
    model = "embedded:embed"

    def embed(self, provider, path, inputs, **given):
        answer = litellm.embedding(
            model=f"{provider}/embed",
            api_base=f"{self.server.url}{path}",
            api_key=KEY,
            input=inputs,
            max_retries=0,
            **given,
        )
        return [row["embedding"] for row in sorted(answer.data, key=lambda row: row["index"])]

    def check(self, provider, path, **given):
        documents = texts(100)
        expected = self.server.vectors(documents)
        found = self.embed(provider, path, documents, **given)
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_openai(self):
        self.check("openai", "/v1")

    def test_hosted_vllm(self):
        self.check("hosted_vllm", "/v1")

    def test_infinity(self):
        self.check("infinity", "/v1")

    def test_jina_ai(self):
        self.check("jina_ai", "/v1")

    def test_cohere(self):
        self.check("cohere", "/v2/embed", input_type="search_document")

    def test_dimensions(self):
        whole = np.array(self.server.vectors([QUERY]))[:, :8]
        expected = whole / np.linalg.norm(whole, axis=1)
        # It sends Infinity `output_dimension`.
        for provider in ("hosted_vllm", "infinity"):
            found = self.embed(provider, "/v1", [QUERY], dimensions=8)
            np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_encoding_format_none(self):
        # It sends `null` then.
        for provider in ("openai", "hosted_vllm"):
            found = self.embed(provider, "/v1", [QUERY], encoding_format=None)
            np.testing.assert_allclose(found, self.server.vectors([QUERY]), atol=1e-6)


class Rerank(ServerCase):
    head = "classify"
    labels = ("relevance",)

    def check(self, provider, **given):
        documents = texts(100)
        found = litellm.rerank(
            model=f"{provider}/reranker",
            api_base=self.server.url,
            api_key=KEY,
            query=QUERY,
            documents=documents,
            top_n=7,
            **given,
        )
        scores = self.server.scores(QUERY, documents)
        best = sorted(range(100), key=lambda n: -scores[n])[:7]
        self.assertEqual([one["index"] for one in found.results], best)
        relevance = [one["relevance_score"] for one in found.results]
        np.testing.assert_allclose(relevance, [scores[n] for n in best])

    def test_hosted_vllm(self):
        self.check("hosted_vllm")

    def test_infinity(self):
        # Infinity answers documents as strings; the route has vLLM's and Cohere's answer, where they are objects.
        self.check("infinity", return_documents=False)

    def test_cohere(self):
        self.check("cohere")

    def test_jina_ai(self):
        self.check("jina_ai")
