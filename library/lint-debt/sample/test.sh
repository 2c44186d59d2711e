#!/bin/sh
test "$(sh tool.sh)" = tool
