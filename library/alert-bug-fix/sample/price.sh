#!/bin/sh
# Prints the price of one: price.sh TOTAL COUNT
echo $(($1 / $2))
