# Runs the tests of the Open POSIX Test Suite, several at once: many of them only wait.
#
# Called as `busybox ash posix.sh FOLDER LIMIT NAME...`, where a name of a test may be a pattern. One line tells of
# each: PASS, FAIL or, where a test says that it has not decided or that something is not offered, SKIP. What is said
# about one that fails follows, behind a number sign. They are run as users who are not root: none may do to the machine
# what it would do to others on it. Each runner has a user of its own, whose processes and files all end with a test:
# some start a thousand children, which would go on when the test itself has run into its limit.

folder=$1
limit=$2
shift 2
at_once=8
first_user=64000
work=/tmp/posix.$$

# Does something as the user $user, who needs no entry in passwd(5).
as_user()
{
    /usr/bin/setpriv --reuid "$user" --regid 65534 --clear-groups "$@"
}

# Runs a test in a folder of its own.
one()
{
    mkdir -p "$work/$1" && cp "$folder/$1" "$work/$1/test" && chown -R "$user" "$work/$1" && cd "$work/$1" || return
    # Some signal to their whole group.
    as_user busybox setsid timeout -s KILL "$limit" "$work/$1/test" > "$work/$1.said" 2>&1 < /dev/null
    status=$?
    case $status in
        0) echo "PASS $1" ;;
        2 | 4 | 5) echo "SKIP $1" ;;
        *) echo "FAIL $1: status $status" && tail -n 4 "$work/$1.said" | cut -c 1-160 | sed "s/^/# $1: /" ;;
    esac
    as_user busybox kill -KILL -1
    cd / && rm -rf "${work:?}/$1" "$work/$1.said"
    find /dev/shm -user "$user" -exec rm -rf {} +
}

# Runs each test whose turn is this runner's.
runner()
{
    user=$((first_user + number))
    turn=0
    for test in "$folder"/*; do
        name=${test##*/}
        for pattern; do
            # shellcheck disable=SC2254
            case $name in
                $pattern) ;;
                *) continue ;;
            esac
            turn=$((turn + 1))
            test $((turn % at_once)) -eq "$number" && one "$name"
            break
        done
    done
}

number=0
while test $number -lt $at_once; do
    runner "$@" &
    number=$((number + 1))
done
wait
rm -rf "$work"
