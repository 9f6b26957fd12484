# Runs the tests of the Open POSIX Test Suite, several at once: many of them only wait.
#
# Called as `busybox ash posix.sh FOLDER LIMIT NAME...`, where a name of a test may be a pattern. One line tells of
# each: PASS, FAIL or, where a test says that it has not decided or that something is not offered, SKIP. What is said
# about one that fails follows, behind a number sign. They are run as a user who is not root: none may do to the machine
# what it would do to others on it.

folder=$1
limit=$2
shift 2
at_once=6
work=/tmp/posix.$$
user=nobody:65534

# Runs a test in a folder of its own.
one()
{
    mkdir -p "$work/$1" && cp "$folder/$1" "$work/$1/test" && chown -R $user "$work/$1" && cd "$work/$1" || return
    # Some signal to their whole group.
    busybox setsid timeout -s KILL "$limit" busybox start-stop-daemon -S -q -p "$work/$1/pid" -c $user -x "$work/$1/test" > "$work/$1.said" 2>&1 < /dev/null
    status=$?
    case $status in
        0) echo "PASS $1" ;;
        2 | 4 | 5) echo "SKIP $1" ;;
        *) echo "FAIL $1: status $status" && tail -n 4 "$work/$1.said" | cut -c 1-160 | sed "s/^/# $1: /" ;;
    esac
    cd / && rm -rf "${work:?}/$1" "$work/$1.said"
}

running=0
for test in "$folder"/*; do
    name=${test##*/}
    for pattern; do
        # shellcheck disable=SC2254
        case $name in
            $pattern) ;;
            *) continue ;;
        esac
        one "$name" &
        running=$((running + 1))
        if test $running -ge $at_once; then
            wait
            running=0
        fi
        break
    done
done
wait
rm -rf "$work"
