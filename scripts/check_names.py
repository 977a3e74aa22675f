#!/usr/bin/env python3
"""Fails where two types of the workspace have one name (docs/internals/style.md, rule 6)."""

import re
import sys
from collections import defaultdict
from pathlib import Path

CRATES = Path(__file__).resolve().parent.parent / "crates"
TYPE = re.compile(r"(?:pub(?:\([a-z]+\))? )?(?:struct|enum|trait|type|union) ([A-Z]\w*)")

places = defaultdict(list)
for path in sorted(CRATES.glob("*/src/**/*.rs")):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := TYPE.match(line):
            places[found[1]].append(f"{path.relative_to(CRATES.parent)}:{number}")
shared = {name: where for name, where in places.items() if len(where) > 1}
for name, where in sorted(shared.items()):
    print(f"two types called {name}: {', '.join(where)}", file=sys.stderr)
print(f"check_names: {len(places)} types, {len(shared)} names of several")
sys.exit(bool(shared))
