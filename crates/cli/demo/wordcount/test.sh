#!/bin/sh
# Builds wordcount and tries it on texts whose counts are known.
set -eu
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cc -Wall -Werror -O1 -o "$build/wordcount" wordcount.c

failures=0
expect() {
    got=$(printf "$1" | "$build/wordcount")
    if [ "$got" = "$2" ]; then
        echo "ok: $2 in '$1'"
    else
        echo "FAILED: '$1' has $2 words, wordcount says $got"
        failures=$((failures + 1))
    fi
}

expect 'one two three\n' 3
expect '  spaces   around  \n' 2
expect '\n\n' 0
expect 'no newline at the end' 5
exit "$failures"
