#!/usr/bin/env bash
# fuzz.sh TIME FOLDER…: runs every fuzz target beneath the folders for TIME. Each
# test binary is built once, with coverage, so that the fuzzer sees what it
# reaches; with PLAIN=1 without, which builds in seconds and tries what is near the
# corpora. A failing input is kept in the target's testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
time=$1
shift
go=${GO:-go} root=$PWD targets=0 instrument=(-fuzz .)
[ -z "${PLAIN:-}" ] || instrument=()
mkdir -p .cache/fuzz

# timeUp LOG: the fuzzer may report its own end, when its time is over in the
# middle of an input, as a failure. It then names no failing input.
timeUp() {
	grep -q '^ *context deadline exceeded$' "$1" && ! grep -qE 'Failing input written|panic:|--- FAIL: .*/' "$1"
}

# fuzz TIME: runs $target for so long, or shows what it failed with and ends.
fuzz() {
	(
		cd "$dir"
		"$binary" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$1" \
			-test.fuzzcachedir "$root/.cache/fuzz/corpus/$dir" >"$log" 2>&1
	) || timeUp "$log" || { echo "$dir $target"; cat "$log"; exit 1; }
}

while read -r dir; do
	binary=$root/.cache/fuzz/${dir//\//-}.test
	# A module of its own is built as its tests are, so that nothing is compiled twice.
	(
		cd "$dir"
		[ ! -e go.mod ] || export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath"
		"$go" test -c "${instrument[@]}" -o "$binary" .
	)
	for target in $(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2); do
		log=$binary.$target.log
		fuzz "$time"
		# Where making the seeds takes as long, nothing was tried yet.
		grep -q 'execs: [1-9]' "$log" || fuzz 10s
		echo "$dir $target$(sed -n 's/^fuzz: elapsed: [^,]*, \(execs: [0-9]*\).*/, \1/p' "$log" | tail -n 1)"
		targets=$((targets + 1))
	done
	rm -f "$binary" "$binary".*.log
done < <(grep -rl --include='*_test.go' '^func Fuzz' "$@" | xargs -n 1 dirname | sort -u)
((targets > 0)) || { echo "no fuzz target beneath $*"; exit 1; }
echo "$targets fuzz targets, $time each"
