#!/usr/bin/env bash
# The proof that the gate closes: a clone of this repository in which functions take a quarter longer, by a busy wait.
#
#     tests/benchmarks/slow_copy.sh FOLDER FILE:NAME...    # /tmp/slow initbench/engine/training/trainer.py:train
set -euo pipefail
folder=$1
shift
git clone --quiet "$(dirname "$0")/../.." "$folder"
for place in "$@"; do
    file=$folder/${place%%:*} name=${place#*:}
    grep -q '^def _slowed' "$file" || cat >> "$file" <<'END'


def _slowed(work):
    import time

    def slowed(*given, **named):
        start = time.perf_counter()
        found = work(*given, **named)
        if hasattr(found, "__next__"):
            found = iter(list(found))
        end = start + 1.25 * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return found

    return slowed


END
    echo "$name = _slowed($name)" >> "$file"
done
git -C "$folder" --no-pager diff
