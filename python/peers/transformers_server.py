"""Serves ModernBERT embeddings as most people would begin: transformers behind a queue that makes batches.

    python3 python/peers/transformers_server.py MODEL_DIR [--port 8091] [--batch 32] [--attention sdpa]

One thread takes what waits, up to `--batch` texts, tokenizes them together, pads them to the longest, and runs the model
in bf16: the design of Infinity and of sentence-transformers behind an HTTP framework, without their layers. It answers
`POST /embed` of text-embeddings-inference with vectors of unit length, so that `bigbatch validate --target` can measure it.
"""

import argparse
import concurrent.futures
import http.server
import json
import queue
import threading

import torch
import transformers


class Model:
    """Answers texts in batches, in a thread of its own."""

    def __init__(self, path, batch, attention):
        self.batch = batch
        self.waiting = queue.Queue()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        # Which token pads is not seen: the mask leaves it out.
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.mask_token
        model = transformers.AutoModel.from_pretrained(
            path, dtype=torch.bfloat16, attn_implementation=attention
        )
        self.model = model.to("cuda").eval()
        threading.Thread(target=self.run, daemon=True).start()

    def embed(self, text):
        """Returns the vector of a text, and its tokens, once its batch is done."""
        answer = concurrent.futures.Future()
        self.waiting.put((text, answer))
        return answer.result()

    def run(self):
        while True:
            taken = [self.waiting.get()]
            while len(taken) < self.batch:
                try:
                    taken.append(self.waiting.get_nowait())
                except queue.Empty:
                    break
            texts, answers = zip(*taken)
            try:
                vectors, tokens = self.forward(list(texts))
            except Exception as error:  # The batch fails, as there; the server goes on.
                torch.cuda.empty_cache()
                for answer in answers:
                    answer.set_exception(RuntimeError(str(error)))
                continue
            for answer, vector, count in zip(answers, vectors, tokens):
                answer.set_result((vector, count))

    @torch.inference_mode()
    def forward(self, texts):
        given = self.tokenizer(texts, padding=True, return_tensors="pt").to("cuda")
        hidden = self.model(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1)
        mean = (hidden.float() * mask).sum(1) / mask.sum(1)
        vectors = torch.nn.functional.normalize(mean, dim=-1).cpu().tolist()
        return vectors, given["attention_mask"].sum(1).tolist()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model = None
    info = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in [("content-type", "application/json"), ("content-length", len(body)), *headers]:
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(*((200, self.info) if self.path in ("/info", "/health") else (404, {"error": "no path"})))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            vector, tokens = self.model.embed(body["inputs"])
        except RuntimeError as error:
            return self.answer(500, {"error": str(error), "error_type": "Backend"})
        self.answer(200, [vector], [("x-compute-tokens", tokens)])


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--attention", default="sdpa")
    given = parser.parse_args()
    Handler.model = Model(given.model, given.batch, given.attention)
    Handler.info = {
        "model_id": given.model,
        "model_dtype": "bfloat16",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": 512,
        "max_input_length": Handler.model.model.config.max_position_embeddings,
        "max_batch_tokens": given.batch * Handler.model.model.config.max_position_embeddings,
        "version": f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    print(f"listening on http://127.0.0.1:{given.port}", flush=True)
    Server(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
