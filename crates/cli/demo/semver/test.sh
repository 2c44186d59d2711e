#!/bin/sh
# Tries semver.sh on pairs whose order is known.
set -eu
failures=0
expect() {
    got=$(sh semver.sh "$1" "$2")
    if [ "$got" = "$3" ]; then
        echo "ok: $1 is $3 than $2"
    else
        echo "FAILED: $1 should be $3 than $2, semver.sh says $got"
        failures=$((failures + 1))
    fi
}

expect 1.0.0 1.0.0 same
expect 1.2.0 1.3.0 older
expect 2.0.0 1.9.9 newer
expect 1.9.0 1.10.0 older
expect 1.0.11 1.0.9 newer
exit "$failures"
