#!/usr/bin/env bash
# The proof that the gate closes: a clone of this repository in which functions take a quarter longer, by a busy wait.
#
#     tests/benchmarks/slow_copy.sh FOLDER FILE NAME...    # /tmp/slow initbench/engine/training/trainer.py train
set -euo pipefail
folder=$1 file=$2
shift 2
git clone --quiet "$(dirname "$0")/../.." "$folder"
cat >> "$folder/$file" <<'END'


def _slowed(work):
    import time

    def slowed(*given, **named):
        start = time.perf_counter()
        found = work(*given, **named)
        end = start + 1.25 * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return found

    return slowed


END
for name in "$@"; do
    echo "$name = _slowed($name)" >> "$folder/$file"
done
git -C "$folder" --no-pager diff
