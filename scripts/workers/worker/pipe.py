"""The pipe's loop: one JSON object a line, requests on stdin, replies on what was stdout at the start."""

import json
import os
import sys
import traceback

from .memory import words_of
from .profile import Profilers, profile
from .progress import Reporter
from .timing import generate, measure


class Replies:
    """Takes stdout for replies alone: whatever a library prints to stdout from now on goes to stderr."""

    def __init__(self):
        self.pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def send(self, reply, **fields):
        # "NaN" is no JSON: what is not finite is an error here, not a torn reply.
        self.pipe.write(json.dumps({"reply": reply, **fields}, allow_nan=False) + "\n")
        self.pipe.flush()

    def fail_before_hello(self, kind, error, trace):
        """For sys.excepthook: a library that can't be imported is told in the place of hello."""
        traceback.print_exception(kind, error, trace)
        self.send("failed", phase="load", message=words_of(error))


def serve(engine, replies, requests=sys.stdin):
    """Answers requests until `shutdown` or the end of `requests`."""
    replies.send("hello", protocol=1, **_abilities(engine), **engine.hello())
    for line in requests:
        request = json.loads(line)
        kind = request.pop("request")
        if kind == "shutdown":
            return
        reporter = Reporter(replies, "load" if kind in ("load", "ceilings") else "prompt")
        try:
            reply, answer = ANSWERS[kind](engine, request, reporter)
        except Exception as error:
            traceback.print_exc()
            reply, answer = "failed", {"phase": reporter.phase, "message": words_of(error)}
        replies.send(reply, **answer)


def _abilities(engine):
    """What a hello says where it is so."""
    return {"device_memory_limit": True} if engine.bounds_device_memory else {}


def _load(engine, request, reporter):
    if request.get("device_memory_limit_bytes") is not None and not engine.bounds_device_memory:
        raise ValueError("device_memory_limit: this engine can't bound the device memory that it uses")
    if request.get("one_rank_of") is not None:
        raise ValueError("one_rank: this engine can't measure one rank of several")
    return "loaded", engine.load(request, reporter)


def _measure(engine, request, reporter):
    length = request["generation_length"]
    _check_prompt(engine, request["prompt_ids"], length)
    return "measured", measure(engine, request["prompt_ids"], length, request["procedure"], reporter)


def _profile(engine, request, reporter):
    length, warmup_runs = request["generation_length"], request["procedure"]["warmup_runs"]
    _check_prompt(engine, request["prompt_ids"], length)
    return "profiled", profile(engine, request["prompt_ids"], length, warmup_runs, reporter, Profilers())


def _generate(engine, request, reporter):
    new_tokens = request["max_new_tokens"]
    if new_tokens < 1:
        raise ValueError("max_new_tokens: expected 1 or more, found 0")
    _check_prompt(engine, request["prompt_ids"], new_tokens - 1)
    return "generated", generate(engine, request["prompt_ids"], new_tokens, request["logits"], reporter)


def _ceilings(engine, request, reporter):
    raise NotImplementedError(f"{request['device']}: this engine measures no ceilings")


ANSWERS = {"load": _load, "measure": _measure, "profile": _profile, "generate": _generate, "ceilings": _ceilings}


def _check_prompt(engine, rows, decodes):
    """Ids outside the vocabulary or positions outside the context would be read from other memory by some engines."""
    if not rows or not rows[0]:
        raise ValueError("prompt_ids: expected one row a sequence, with at least one token")
    length = len(rows[0])
    if any(len(row) != length for row in rows):
        raise ValueError("prompt_ids: expected rows of one length")
    largest = max(max(row) for row in rows)
    if largest >= engine.vocab_size:
        raise ValueError(f"prompt_ids: expected ids below vocab_size ({engine.vocab_size}), found {largest}")
    if length + decodes > engine.max_position_embeddings:
        raise ValueError(
            f"prompt of {length} tokens and {decodes} decode forwards need {length + decodes} positions: "
            f"the model has {engine.max_position_embeddings} (max_position_embeddings)"
        )
