"""Tests LangChain's embeddings class for OpenAI, with the server's /v1 as its base URL."""

import asyncio

import numpy as np
from langchain_openai import OpenAIEmbeddings

from server import ServerCase, texts


class LangChainOpenAi(ServerCase):
    model = "embedded:embed"

    def setUp(self):
        # Without the check it would send ids of OpenAI's tokenizer, which no other model has.
        self.embeddings = OpenAIEmbeddings(
            base_url=f"{self.server.url}/v1",
            api_key="none is needed",
            model="embed",
            check_embedding_ctx_length=False,
            max_retries=0,
        )

    def test_a_thousand_documents(self):
        documents = texts(1000)
        found = self.embeddings.embed_documents(documents)
        np.testing.assert_allclose(found, self.server.vectors(documents), atol=1e-6)

    def test_a_query(self):
        query = "Where is my parcel?"
        found = self.embeddings.embed_query(query)
        np.testing.assert_allclose([found], self.server.vectors([query]), atol=1e-6)
        self.assertEqual(asyncio.run(self.embeddings.aembed_query(query)), found)
