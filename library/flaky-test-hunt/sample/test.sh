#!/bin/sh
# Sums in a folder of its own.
set -e
work=/tmp/windlass-sample
mkdir "$work"
echo 3 > "$work/sum"
grep -qx 3 "$work/sum"
