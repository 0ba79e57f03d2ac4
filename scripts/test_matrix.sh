#!/usr/bin/env bash
# Run the tests as other processors, threads, package versions and Python versions would, and print a table:
#   scripts/test_matrix.sh [NAME...]      names as in the table below; all by default; logs in .matrix/
# Environments are made with uv in .matrix/ and kept. Where pyenv hides versions of Python, name them in PYENV_VERSION,
# separated by colons: PYENV_VERSION=3.11.7:3.12.1:3.13.0 scripts/test_matrix.sh
set -uo pipefail
cd "$(dirname "$0")/.."
make install >/dev/null || exit 1
mkdir -p .matrix
uv="$PWD/.venv/bin/uv"
failed=0

variant() {  # NAME PYTHON [SETTING=VALUE...] [-- PYTEST_OPTION...]
  local name=$1 python=$2 settings=() log result
  shift 2
  if [[ ${#wanted[@]} -gt 0 && ! " ${wanted[*]} " == *" $name "* ]]; then return; fi
  while [[ $# -gt 0 && $1 != -- ]]; do settings+=("$1"); shift; done
  [[ $# -gt 0 ]] && shift
  log=.matrix/$name.log
  if ! environment "$python" >"$log" 2>&1; then echo "| $name | not installed, see $log | |"; failed=1; return; fi
  env "${settings[@]}" "$(bin "$python")/python" -m pytest "$@" >>"$log" 2>&1 || failed=1
  result=$(tail -n 1 "$log" | tr -d =)
  echo "| $name | ${result:-no result, see $log} | ${settings[*]} |"
}

bin() { [[ $1 == pinned ]] && echo "$PWD/.venv/bin" || echo "$PWD/.matrix/$1/bin"; }

environment() {  # pinned, lowest, or a version of Python
  local python choice=(-c constraints.txt)
  [[ $1 == pinned ]] && return
  python=$1
  [[ $1 == lowest ]] && python=3.11 && choice=(--resolution lowest-direct)
  [[ -x .matrix/$1/bin/python ]] || "$uv" venv --python "$python" ".matrix/$1" || return
  "$uv" pip install --python ".matrix/$1/bin/python" "${choice[@]}" -e '.[dev]'
}

wanted=("$@")
echo "$(date +%F), $(uname -m), $(grep -m 1 'model name' /proc/cpuinfo | cut -d : -f 2- || true), $(nproc) cores, $(.venv/bin/python -c 'import torch; print(torch.backends.cpu.get_cpu_capability())')"
echo "| name | result | settings |"
echo "|---|---|---|"
variant default pinned
variant oldest-processor pinned ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2
variant avx2 pinned ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
variant one-thread pinned OMP_NUM_THREADS=1
variant several-threads pinned TEST_THREADS=3
variant spawn pinned TEST_START_METHOD=spawn
variant python-3.12 3.12
variant python-3.13 3.13
variant lowest lowest -- -W ignore -o filterwarnings=default  # old packages warn about each other
exit $failed
