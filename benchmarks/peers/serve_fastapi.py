"""Serving with FastAPI and Transformers as most people begin: fp32, one text at a time.

python serve_fastapi.py CHECKPOINT PORT THREADS
"""

import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForSequenceClassification, AutoTokenizer

CHECKPOINT, PORT, THREADS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(THREADS)
tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
model = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT).eval()
app = FastAPI()


@app.get("/health")
def health() -> str:
    return "ok"


@app.post("/predict")
async def predict(body: dict[str, Any]) -> dict[str, Any]:
    """Blocks the loop on purpose: requests are answered one after the other."""
    with torch.inference_mode():
        encoded = tokenizer(body["text"], truncation=True, return_tensors="pt")
        return {"probabilities": model(**encoded).logits.softmax(-1)[0].tolist()}


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
