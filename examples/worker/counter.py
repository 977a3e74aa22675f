#!/usr/bin/env python3
"""A worker: one class. This engine counts, where yours computes a model."""

import array
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts" / "workers"))
from worker import peers

loop = peers.extension(peers.library())  # the timing loop and the protocol
loop.take_stdout()  # before you import the engine's libraries: what they print goes to stderr


class Counter:
    def hello(self):
        library = {"name": "counter", "version": "1.0", "path": None}
        return {"engine": "counter", "libraries": [library], "devices": [{"device": "cpu", "unusable": None}]}

    def load(self, request):
        model = request["model"]
        if "seeded" in model:
            config = model["seeded"]["config"]
        else:
            config = json.loads(Path(model["checkpoint"]["dir"], "config.json").read_text())
        self.vocab_size, self.max_position_embeddings = config["vocab_size"], config["max_position_embeddings"]
        return {"weights_bytes": 0, "notes": ["counts, and computes no model"]}

    def begin(self, prompt_ids, generation_length):
        self.prompt = prompt_ids

    def reset(self):  # empties the KV cache
        self.last, self.chosen = [row[-1] for row in self.prompt], []

    def prefill(self):  # timed: returns when the device has finished
        self.next = [(token + 1) % self.vocab_size for token in self.last]

    decode = prefill

    def select(self):  # the most probable token of each row
        self.last = self.next
        self.chosen.append(self.last)

    def tokens(self):
        return [list(row) for row in zip(*self.chosen, strict=True)]

    def logits(self):
        return [array.array("f", (float(token == token_id) for token_id in range(self.vocab_size))) for token in self.next]

    def end(self):
        pass


loop.serve(Counter())
