# Runs selftests of Linux, each a program of its own.
#
# Called as `busybox ash selftests.sh FOLDER LIMIT NAME...`. One line tells of each: PASS, FAIL or, where the
# machine lacks what it needs, SKIP. What a program says that fails follows, behind a number sign.

folder=$1
limit=$2
shift 2
for name in "$@"; do
    work=/tmp/selftest.$$
    mkdir -p "$work" && cd "$work" || exit 1
    program=$(echo "$name" | tr / -)
    cp "$folder/$program" .
    timeout -s KILL "$limit" "./$program" > said 2>&1 < /dev/null
    status=$?
    case $status in
        0) echo "PASS $name" ;;
        4) echo "SKIP $name" ;;
        *) echo "FAIL $name: status $status" && tail -n 12 said | cut -c 1-160 | sed 's/^/# /' ;;
    esac
    cd / && rm -rf "$work"
done
