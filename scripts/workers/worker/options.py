"""Reading what `load` asks for, with errors that say what would do."""

import json
import os


def take_options(options, words):
    """The value of every option in `words` (name -> values, the first the default)."""
    for name in options:
        if name not in words:
            raise ValueError(f"unknown option {name}: this engine has {', '.join(words) or 'none'}")
    taken = {name: options.get(name, values[0]) for name, values in words.items()}
    for name, value in taken.items():
        # `1` is no `true`, which Python's `in` would take it for.
        if json.dumps(value) not in map(json.dumps, words[name]):
            expected = " or ".join(map(json.dumps, words[name]))
            raise ValueError(f"option {name}: expected {expected}, found {json.dumps(value)}")
    return taken


def thread_count(threads):
    """As many as asked for; where nothing is asked, one for each core that this process may use."""
    return threads or len(os.sched_getaffinity(0))
