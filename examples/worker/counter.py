#!/usr/bin/env python3
"""A worker: one class. This engine counts, where yours computes a model."""

import array
import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), "../../scripts/workers"))
from worker import peers

loop = peers.extension(peers.library())  # the timing loop and the protocol
loop.take_stdout()  # before you import the engine's libraries: what they print goes to stderr


class Counter:
    vocab_size, max_position_embeddings = 32000, 2048

    def hello(self):
        library = {"name": "counter", "version": "1.0", "path": None}
        return {"engine": "counter", "libraries": [library], "devices": [{"device": "cpu", "unusable": None}]}

    def load(self, request):
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
        return [list(row) for row in zip(*self.chosen)]

    def logits(self):
        return [array.array("f", (float(token == id) for id in range(self.vocab_size))) for token in self.next]

    def end(self):
        pass


loop.serve(Counter())
