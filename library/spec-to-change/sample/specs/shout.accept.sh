#!/bin/sh
test "$(sh shout.sh hi)" = HI
