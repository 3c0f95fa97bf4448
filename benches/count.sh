#!/bin/sh
# Counts instructions per operation with callgrind.
#
#   benches/count.sh            prints the table
#   benches/count.sh --write    also puts it into benches/README.md
#   benches/count.sh NAME N M   one workload (or NAME@PEER) at the lengths N and M
#
# Each workload runs at two lengths; what both have in common (start of the process and the run) cancels out of
# the difference. All figures are instructions of the whole program, kernel excluded.
set -eu
home=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

binary=$(cargo build --release --quiet --manifest-path "$home/Cargo.toml" --all-features --message-format=json |
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

if [ $# -eq 3 ]; then
    per_operation "$@"
    exit
fi

# Prints one line of the table: label $1, workload $2, lengths $3 and $4.
line() {
    echo "| $1 | $(per_operation "$2" "$3" "$4") |"
}

table() {
    echo "| operation | instructions |"
    echo "|---|--:|"
    line "yield, 1 task" yield-1 2000 12000
    line "yield, 100 tasks" yield-100 2000 12000
    line "spawn one and join" spawn-one 1000 6000
    line "spawn and join, 1,000 children" spawn-1k 2000 12000
    line "ping-pong round trip" ping-pong 1000 6000
    line "stream, capacity 0" stream-0 1000 6000
    line "stream, capacity 1" stream-1 1000 6000
    line "stream, capacity 128" stream-128 2560 12800
    line "checkpoint_if_cancelled, 1 scope" check-1 1000 11000
    line "checkpoint_if_cancelled, 8 scopes" check-8 1000 11000
    line "scope, enter and exit" scope 1000 6000
    line "move_on_after around a ready body" move-on-after 1000 6000
    line "sleep, create, poll and drop" sleep 3200 9600
    deep=$(per_operation wake-16 1000 6000)
    shallow=$(per_operation wake-1 1000 6000)
    echo "| wake per nesting level | $(echo "$deep $shallow" | awk '{ printf "%.1f", ($1 - $2) / 15 }') |"
}

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
