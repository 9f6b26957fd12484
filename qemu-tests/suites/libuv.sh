# Runs the tests of libuv, each in a process of its own.
#
# Called as `busybox ash libuv.sh FOLDER LIMIT NAME...`, where a name of a test may be a pattern. One line tells of
# each: PASS, FAIL or, where a test says that the machine lacks what it needs, SKIP. What is said about one that
# fails follows, behind a number sign. They are run as a user who is not root: the program asks for that.

folder=$1
limit=$2
shift 2
work=/tmp/libuv.$$
user=nobody:65534
mkdir -p "$work" && cp -r "$folder/." "$work" && chown -R $user "$work" && cd "$work" || exit 1
# A processor may be emulated: what ends a test that hangs has to wait.
export UV_TEST_TIMEOUT_MULTIPLIER=8
as_user()
{
    start-stop-daemon -S -q -p "$work/pid" -c $user -x "$work/run-tests" -- "$@"
}
# Behind a name the list tells what helps it. One that asks for a terminal waits for ever if it is in the background of one, as it should.
for name in $(as_user --list | sed "s, .*,," | grep -vx tty); do
    for pattern; do
        case $name in
        $pattern) ;;
        *) continue ;;
        esac
        timeout -s KILL "$limit" busybox start-stop-daemon -S -q -p "$work/pid" -c $user -x "$work/run-tests" -- "$name" > said 2>&1 < /dev/null
        status=$?
        case $status in
            0) echo "PASS $name" ;;
            7) echo "SKIP $name" ;;
            *) echo "FAIL $name: status $status" && tail -n 12 said | cut -c 1-160 | sed 's/^/# /' ;;
        esac
        break
    done
done
cd / && rm -rf "$work"
