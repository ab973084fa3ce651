#!/bin/sh
# Counts the steps of some loops.
total=0
for size in 10 100 1000; do
  steps=$((size * (size - 1) / 2))
  total=$((total + steps))
  echo "size $size: $steps steps"
done
echo "total: $total steps"
