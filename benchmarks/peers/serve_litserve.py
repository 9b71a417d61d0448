"""Serving with LitServe: fp32, batches of up to 32 that are waited for 10 ms, one worker.

python serve_litserve.py CHECKPOINT PORT THREADS
"""

import sys
from typing import Any

import litserve
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

CHECKPOINT, PORT, THREADS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        torch.set_num_threads(THREADS)
        self.tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
        self.model = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT).eval()

    def decode_request(self, request: dict[str, Any]) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return list(inputs)

    def predict(self, texts: list[str]) -> torch.Tensor:
        with torch.inference_mode():
            encoded = self.tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
            return self.model(**encoded).logits.softmax(-1)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    classifier = Classifier(max_batch_size=32, batch_timeout=0.01)
    server = litserve.LitServer(classifier, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
