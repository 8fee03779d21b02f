"""Tests LangChain's embeddings class for text-embeddings-inference, with the server's URL as its model."""

import asyncio
import unittest

import numpy as np
from langchain_huggingface import HuggingFaceEndpointEmbeddings

from server import ServerCase

TEXTS = ["Where is my parcel?", "The cat\nsat."]


class LangChain(ServerCase):
    head = "base"

    def setUp(self):
        self.embeddings = HuggingFaceEndpointEmbeddings(model=self.server.url)

    def test_documents_and_queries(self):
        documents = np.array(self.embeddings.embed_documents(TEXTS))
        query = np.array(self.embeddings.embed_query(TEXTS[0]))
        self.assertEqual(documents.shape, (2, len(query)))
        np.testing.assert_array_equal(documents[0], query)
        np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)

    def test_asynchronous(self):
        query = asyncio.run(self.embeddings.aembed_query(TEXTS[0]))
        np.testing.assert_array_equal(query, self.embeddings.embed_query(TEXTS[0]))


if __name__ == "__main__":
    unittest.main()
