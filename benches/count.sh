#!/bin/sh
# Counts instructions per operation with callgrind.
#
#   benches/count.sh            prints the table
#   benches/count.sh --write    also puts it into benches/README.md
#   benches/count.sh --update   counts the hot paths and writes benches/counts.txt: on purpose, with the change that moved them
#   benches/count.sh --check    counts the hot paths and fails if one has grown by more than 5 % over benches/counts.txt
#   benches/count.sh NAME N M   one workload (or NAME@PEER) at the lengths N and M
#
# Each workload runs at two lengths; what both have in common (start of the process and the run) cancels out of
# the difference. All figures are instructions of the whole program, kernel excluded.
set -eu
home=$(cd "$(dirname "$0")" && pwd)
counts=$home/counts.txt
tolerance=5

if ! command -v valgrind >/dev/null; then
    echo "count.sh: valgrind is not installed, so nothing is counted"
    # Without it, `--check` has nothing to say; to be asked for figures and have none is a failure.
    [ "${1:-}" = --check ]
    exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

# Only trine's own path counts here, so the io_uring peers are not built.
binary=$(cargo build --release --quiet --manifest-path "$home/Cargo.toml" --features tokio,async-io --message-format=json |
    sed -n 's/.*"executable":"\([^"]*trine-benches\)".*/\1/p' | tail -n 1)

# Prints "INSTRUCTIONS OPERATIONS" of workload $1 at length $2.
total() {
    operations=$(valgrind --tool=callgrind --dump-instr=no --callgrind-out-file="$scratch/out" \
        --log-file="$scratch/log" "$binary" --count "$1" "$2")
    echo "$(sed -n 's/.*Collected *: *\([0-9]*\).*/\1/p' "$scratch/log") $operations"
}

# Prints instructions per operation of workload $1 between the lengths $2 and $3.
per_operation() {
    echo "$(total "$1" "$2") $(total "$1" "$3")" |
        awk 'NF == 4 && $4 > $2 { printf "%.1f\n", ($3 - $1) / ($4 - $2); next } { print "not counted"; exit 1 }'
}

# Prints instructions per level of nesting that a wake passes.
per_level() {
    deep=$(per_operation wake-16 1000 6000)
    shallow=$(per_operation wake-1 1000 6000)
    echo "$deep $shallow" | awk 'NF == 2 { printf "%.1f\n", ($1 - $2) / 15; next } { print "not counted"; exit 1 }'
}

# Prints one line of the table: label $1, workload $2, lengths $3 and $4.
line() {
    figure=$(per_operation "$2" "$3" "$4")
    echo "| $1 | $figure |"
}

table() {
    echo "| operation | instructions |"
    echo "|---|--:|"
    line "yield, 1 task" yield-1 2000 12000
    line "yield, 100 tasks" yield-100 2000 12000
    line "spawn one and join" spawn-one 1000 6000
    line "spawn and join, 1,000 children" spawn-1k 2000 12000
    line "nursery with one child" nursery-one 1000 6000
    line "spawn a child, let it wait, cancel it and join" cancel-100k 2000 12000
    line "ping-pong round trip" ping-pong 1000 6000
    line "stream, capacity 0" stream-0 1000 6000
    line "stream, capacity 1" stream-1 1000 6000
    line "stream, capacity 128" stream-128 2560 12800
    line "checkpoint_if_cancelled, 1 scope" check-1 1000 11000
    line "checkpoint_if_cancelled, 8 scopes" check-8 1000 11000
    line "scope, enter and exit" scope 1000 6000
    line "move_on_after around a ready body" move-on-after 1000 6000
    line "sleep, create, poll and drop" sleep 3200 9600
    figure=$(per_level)
    echo "| wake per nesting level | $figure |"
}

# Prints one line of counts.txt: workload $1 at the lengths $2 and $3.
record() {
    figure=$(per_operation "$1" "$2" "$3")
    echo "$1 $figure"
}

# The hot paths that are guarded, one in a line: the workload and its instructions per operation.
guarded() {
    record spawn-one 1000 6000
    record spawn-1k 2000 12000
    record nursery-one 1000 6000
    record cancel-100k 2000 12000
    record yield-1 2000 12000
    record yield-100 2000 12000
    record ping-pong 1000 6000
    record stream-128 2560 12800
    record check-1 1000 11000
    record check-8 1000 11000
    record scope 1000 6000
    record move-on-after 1000 6000
    record sleep 3200 9600
    figure=$(per_level)
    echo "wake-level $figure"
}

# Compares $2, just counted, with $1, the record. A path that is only in one of them fails as well.
compare() {
    awk -v tolerance="$tolerance" '
        /^#/ || NF == 0 { next }
        FNR == NR { recorded[$1] = $2; next }
        !($1 in recorded) { printf "%-14s %8.1f, not recorded\n", $1, $2; failed = 1; next }
        {
            change = 100 * ($2 - recorded[$1]) / recorded[$1]
            verdict = change > tolerance ? "GREW" : change < -tolerance ? "shrank: record it with --update" : "ok"
            printf "%-14s %8.1f, was %8.1f, %+6.1f %%  %s\n", $1, $2, recorded[$1], change, verdict
            failed = failed || change > tolerance
            delete recorded[$1]
        }
        END {
            for (name in recorded) { printf "%-14s recorded but not counted\n", name; failed = 1 }
            exit failed
        }
    ' "$1" "$2"
}

# The compiler and the C library, whose code is counted too.
toolchain() {
    echo "# $(rustc --version); $(ldd --version 2>/dev/null | head -n 1); $(uname -m)"
}

case "${1:-}" in
    --check)
        guarded >"$scratch/counts"
        if compare "$counts" "$scratch/counts"; then
            echo "count.sh: no hot path has grown by more than $tolerance %"
            exit
        fi
        echo "count.sh: a hot path has grown by more than $tolerance %; if it has to, run benches/count.sh --update"
        toolchain | grep -qxFf - "$counts" || echo "count.sh: recorded with other tools: $(grep '^# rustc' "$counts")"
        exit 1
        ;;
    --update)
        {
            echo "# Instructions per operation of trine's hot paths; written by benches/count.sh --update, compared by --check."
            toolchain
            guarded
        } >"$scratch/counts"
        cat "$scratch/counts"
        cat "$scratch/counts" >"$counts"
        exit
        ;;
    "" | --write) ;;
    *)
        [ $# -eq 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
        per_operation "$@"
        exit
        ;;
esac

table >"$scratch/table"
cat "$scratch/table"
if [ "${1:-}" = --write ]; then
    awk -v table="$scratch/table" '
        /<!-- counts:end -->/ { inside = 0 }
        !inside { print }
        /<!-- counts:begin -->/ { inside = 1; while ((getline line < table) > 0) print line }
    ' "$home/README.md" >"$scratch/readme"
    cat "$scratch/readme" >"$home/README.md"
fi
