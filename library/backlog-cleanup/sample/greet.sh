#!/bin/sh
# TODO: greet whoever is named
echo "hello, world"
