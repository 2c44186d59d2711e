#!/bin/sh
dead_helper() { echo never; }
echo tool 
