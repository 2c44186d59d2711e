#!/bin/sh
# Says whether the first version is older or newer than the second.
set -eu

compare() {
    if [ "$1" = "$2" ]; then
        echo same
    elif [ "$(printf '%s\n%s\n' "$1" "$2" | LC_ALL=C sort | head -n 1)" = "$1" ]; then
        echo older
    else
        echo newer
    fi
}

if [ $# -ne 2 ]; then
    echo "usage: semver.sh VERSION VERSION" >&2
    exit 2
fi
compare "$1" "$2"
