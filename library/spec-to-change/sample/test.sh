#!/bin/sh
for script in *.sh; do sh -n "$script" || exit 1; done
