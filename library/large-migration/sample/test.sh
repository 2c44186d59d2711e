#!/bin/sh
grep -q "steps = sh test.sh" jobs/test.conf
