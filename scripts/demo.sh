#!/usr/bin/env bash
# Train on the built-in set of shapes, score the checkpoint, and predict masks: everything segattn does, in a few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf demo
segattn fit --config quickstart.yaml --data.root demo/shapes --output demo/runs
run=demo/runs/quickstart/version_0
segattn validate --config quickstart.yaml --data.root demo/shapes --output demo/runs \
  --ckpt_path "$run/checkpoints/best.ckpt"
segattn predict --checkpoint "$run/checkpoints/best.ckpt" --images demo/shapes/images/val --output demo/masks --overlay
echo "masks and overlays: $PWD/demo/masks"
