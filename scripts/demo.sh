#!/usr/bin/env bash
# Train two models on synthetic shapes, score them, predict masks, and compare them by object size, in a few minutes.
#
# Both models train at the same time with one thread each, because small models gain little from a second thread. To
# finish in five minutes, they train one epoch less than in their configs and are validated once, after the last epoch.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

run() {
  local config=$1.yaml checkpoint=demo/runs/$1/version_0/checkpoints/best.ckpt
  local data=(--data.root demo/shapes --data.num_workers 0 --output demo/runs)
  segattn fit --config "$config" "${data[@]}" --trainer.max_epochs 4 --trainer.check_val_every_n_epoch 4
  segattn validate --config "$config" "${data[@]}" --ckpt_path "$checkpoint"
  segattn predict --checkpoint "$checkpoint" --images demo/shapes/images/val --output "demo/masks/$1" --overlay
}

rm -rf demo
mkdir demo
set -m # gives the next job a process group, so that all of its processes can be stopped
run quickstart_fcn >demo/quickstart_fcn.log 2>&1 &
other=$!
set +m
trap 'kill -- "-$other" 2>/dev/null || true' EXIT
run quickstart
if ! wait "$other"; then
  cat demo/quickstart_fcn.log >&2
  exit 1
fi
tail -n 25 demo/quickstart_fcn.log

segattn compare demo/runs/quickstart_fcn demo/runs/quickstart --output demo/comparison
echo "masks and overlays: $PWD/demo/masks"
echo "comparison: $PWD/demo/comparison/index.html"
