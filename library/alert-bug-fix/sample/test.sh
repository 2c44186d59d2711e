#!/bin/sh
set -e
for test in tests/*.test.sh; do sh "$test"; done
