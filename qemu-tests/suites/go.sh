# Runs test programs of Go's standard library, each in the folder of its package, as `go test` does.
#
# Called as `busybox ash go.sh FOLDER LIMIT PACKAGE...`. One line tells of each test: PASS or FAIL, the package
# and the test. What was said about a test that fails follows, behind a number sign.

folder=$1
limit=$2
shift 2
# There is no `go` where this runs: tests that would build something are left out by themselves.
export GO_GCFLAGS=none
for package in "$@"; do
    said=/tmp/go.$$
    cd "$folder/$package" || exit 1
    timeout -s KILL "$limit" ./test -test.short -test.v > "$said" 2>&1 < /dev/null
    status=$?
    # A test of Go's may have written to the same line before.
    sed -nE "s,^.*--- (PASS|FAIL): ([^ ]*) .*,\1 $package/\2,p" "$said"
    # 1 is that of a failed test.
    case $status in
        0) echo "PASS $package/" ;;
        1) echo "FAIL $package/" ;;
        *) echo "FAIL $package/: status $status" && grep -a -A 9 -E '^(panic|fatal|SIG)' "$said" | cut -c 1-160 | sed 's/^/# /' ;;
    esac
    grep -a -B 3 -A 6 -e '--- FAIL' "$said" | head -n 40 | cut -c 1-160 | sed 's/^/# /'
    rm -f "$said"
done
