#!/bin/sh
# Prints what the registry has in another version.
grep -vxF -f deps.txt registry.txt || true
