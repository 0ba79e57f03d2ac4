#!/usr/bin/env bash
# Everything to measure on a CUDA device, most important first; tables go to the folder OUT (default: cuda_results).
#     CAMVID=DIR WEIGHTS=FILE scripts/cuda_checks.sh [STEP ...]      steps: tests kernels models memory loading training
# STEP_SECONDS limits each step (default: 300). A step that fails or ends at the limit does not stop the next one.
set -u
out=${OUT:-cuda_results}
limit=${STEP_SECONDS:-300}
mkdir -p "$out"
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
camvid=(--data.root "${CAMVID:-data/camvid}" --model.encoder.weights "${WEIGHTS:-imagenet}")

tests() { python -m pytest -n0 -m cuda; }

kernels() { python scripts/benchmark_cuda.py --markdown "$out/kernels.md"; }

models() {
  for config in ade20k_danet ade20k_fla; do
    for size in 512x512 769x769 1024x2048; do
      segattn benchmark --config $config.yaml --size $size --batch 2 --device cuda --dtype bfloat16 \
        --model.encoder.name resnet101 --model.encoder.weights null
    done
  done
}

memory() { # predicted and measured peak memory
  for config in ade20k_danet ade20k_fla ade20k_scsa cityscapes_fcn camvid_fla; do
    segattn benchmark --config $config.yaml --size 512x512 --batch 2 --model.encoder.weights null --predict
    segattn benchmark --config $config.yaml --size 512x512 --batch 2 --model.encoder.weights null --device cuda
  done
}

loading() { # the share of time outside the model
  for options in "" "--model.channels_last true" "--model.compile true"; do
    # shellcheck disable=SC2086 # several words
    python scripts/benchmark_training.py --config camvid_fla.yaml "${camvid[@]}" --trainer.accelerator cuda $options
  done
}

training() {
  python scripts/size_study.py --study scripts/studies/small_objects.yaml --jobs 3 --output "$out/study" \
    -- "${camvid[@]}" --trainer.accelerator cuda --trainer.max_epochs 60
}

for step in "${@:-tests kernels models memory loading training}"; do
  for name in $step; do
    echo "== $name"
    timeout "$limit" bash -c "$(declare -f "$name"); $(declare -p out camvid); $name" >"$out/$name.txt" 2>&1
    echo "ended with $? after ${SECONDS} s in all"
  done
done
