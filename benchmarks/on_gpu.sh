#!/usr/bin/env bash
# What a GPU should show, in order of worth, within 15 minutes: bash benchmarks/on_gpu.sh FOLDER [--quick] [STEP ...]
#
# Each step has a limit of its own, and one that fails stops no other. What a step prints is in FOLDER/STEP.log as it
# comes, and FOLDER/summary.txt tells how each ended. --quick tries it all out with small sizes, without a GPU too; STEP
# is one or more of tests, gpu, released, repeat, main_job. Where the tree has no .git, COMMIT=... says what it is.
set -u
cd "$(dirname "$0")/.."
out=${1:?usage: bash benchmarks/on_gpu.sh FOLDER [--quick] [STEP ...]}
shift
quick=()
if [ "${1:-}" = --quick ]; then
  quick=(--quick)
  shift
fi
wanted=${*:-tests gpu released repeat main_job}
mkdir -p "$out"
out=$(cd "$out" && pwd)
export PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}
failed=0

step() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 start=$SECONDS status=0 end
  shift 2
  case " $wanted " in *" $name "*) ;; *) return ;; esac
  echo "== $name, at most $limit s"
  timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$out/$name.log"
  status=${PIPESTATUS[0]}
  case $status in
    0) end=passed ;;
    124 | 137) end="stopped at its limit of $limit s" ;;
    *) end="FAILED with exit code $status" ;;
  esac
  [ "$status" = 0 ] || failed=1
  printf '%-9s %4d s  %s\n' "$name" $((SECONDS - start)) "$end" >>"$out/summary.txt"
}

{
  python -c 'from benchmarks.__main__ import machine; print(machine())'
  nvidia-smi -L 2>/dev/null || echo "no nvidia-smi"
} 2>&1 | tee "$out/summary.txt"

# A module that cannot be imported here, for a package that the tests of pages need, stops no other.
step tests 200 python -m pytest -m cuda -v --tb=short --continue-on-collection-errors -p no:cacheprovider
step gpu 220 python -m benchmarks gpu --page "$out/benchmarks.md" "${quick[@]}"
step released 150 python -m benchmarks released --page "$out/benchmarks.md" "${quick[@]}"
step repeat 110 python -m benchmarks repeat --page "$out/benchmarks.md" "${quick[@]}"
step main_job 180 python -m benchmarks.main_job "$out" "${quick[@]}"

echo "== summary"
cat "$out/summary.txt"
exit $failed
