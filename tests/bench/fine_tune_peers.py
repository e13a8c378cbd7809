#!/usr/bin/env python3
"""Fine-tunes a sentence encoder with sentence-transformers on given batches. `tests/src/bin/fine_tune.rs` calls it.

`fine_tune_peers.py WEIGHTS BATCHES EMBEDDINGS`: the encoder's folder; a JSON file with the lesson (pairs, classes or graded pairs),
its batches, the texts to embed in the end, the learning rate and the length of texts; and where their embeddings go, rows of
little-endian float32. Classes are learned by pytorch-metric-learning's loss on sentence-transformers' embeddings. Prints the seconds and the
loss of each step. Nothing is dropped out, as with us: sentence-transformers leaves it to the model's configuration.
"""

import json
import os
import sys
import time

import numpy
import sentence_transformers
import torch
from pytorch_metric_learning.losses import MultiSimilarityLoss
from sentence_transformers import SentenceTransformer, losses

threads = os.environ.get("OMP_NUM_THREADS")
if threads is not None:
    torch.set_num_threads(int(threads))
weights, batches, out = sys.argv[1:]
with open(batches, encoding="utf-8") as file:
    given = json.load(file)
model = SentenceTransformer(weights, device="cpu")
model.max_seq_length = given["max_length"]
for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0


def loss_by_classes(features, labels):
    return MultiSimilarityLoss()(model(features[0])["sentence_embedding"], labels)


loss_of = {
    "pairs": losses.MultipleNegativesRankingLoss(
        model, scale=20.0, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
    ),
    "classes": loss_by_classes,
    "graded": losses.CoSENTLoss(model, scale=20.0),
}[given["lesson"]]
optimizer = torch.optim.AdamW(model.parameters(), lr=given["lr"], weight_decay=0.0)
model.train()
seconds, found = [], []
for batch in given["batches"]:
    before = time.perf_counter()
    columns = [model.tokenize(column) for column in batch["columns"]]
    loss = loss_of(columns, torch.tensor(batch["labels"]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    found.append(loss.item())
    seconds.append(time.perf_counter() - before)
embeddings = model.encode(given["test"], batch_size=128, show_progress_bar=False, convert_to_numpy=True)
embeddings.astype("<f4").tofile(out)
program = f"sentence-transformers {sentence_transformers.__version__}, PyTorch {torch.__version__}"
print(json.dumps({"program": program, "seconds": seconds, "losses": found}))
