#!/bin/sh
sum=$(sh add.sh 2 2)
[ "$sum" -eq 4 ] || { echo "2 and 2 are $sum, not 4"; exit 1; }
