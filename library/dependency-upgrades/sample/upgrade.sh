#!/bin/sh
cp registry.txt deps.txt
