#!/usr/bin/env bash
# fuzz.sh TIME FOLDER…: runs every fuzz target beneath the folders for TIME. Each
# test binary is built once, with coverage, so that the fuzzer sees what it
# reaches. A failing input is kept in the target's testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
time=$1
shift
go=${GO:-go} root=$PWD targets=0
mkdir -p .cache/fuzz
while read -r dir; do
	binary=$root/.cache/fuzz/${dir//\//-}.test
	"$go" test -c -fuzz . -o "$binary" "./$dir"
	for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2); do
		echo "$dir $target"
		log=$binary.$target.log
		(
			cd "$dir"
			"$binary" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
				-test.fuzzcachedir "$root/.cache/fuzz/corpus/$dir" >"$log" 2>&1
		) || { cat "$log"; exit 1; }
		tail -n 3 "$log" | grep -h '^fuzz:' | tail -n 1 || true
		targets=$((targets + 1))
	done
	rm -f "$binary" "$binary".*.log
done < <(grep -rl --include='*_test.go' '^func Fuzz' "$@" | xargs -n 1 dirname | sort -u)
((targets > 0)) || { echo "no fuzz target beneath $*"; exit 1; }
echo "$targets fuzz targets, $time each"
