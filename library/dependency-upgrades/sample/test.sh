#!/bin/sh
# json 2 calls it parse2.
read -r _ version < deps.txt
grep -q "json.parse$version" app.txt || { echo "app.txt uses what json $version does not have"; exit 1; }
