# Runs one test of CRIU's zdtm on a node, with moves between nodes in the place of a checkpoint.
#
# Called as `busybox ash zdtm.sh WAY LIMIT NAME [OPTION...]`. The test prepares itself, says its pid, waits for SIGTERM,
# and then checks whether everything is as it was. WAY says what happens meanwhile: `home` nothing; `away` it was begun on
# node 2; `moved` each of its processes is moved to 2, to 3, home and to 2. One line says how it went: PASS, FAIL and the
# reason, or STAY when it passed, but with a process left where it was, and why. Nothing of it is left afterwards.

way=$1
limit=$2
name=$3
shift 3

# Prints the processes that were not there before.
fresh() {
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        case " $before " in *" $pid "*) ;; *) echo "$pid" ;; esac
    done
}

# Moves all processes of the test, one after the other, to one node after the other. One that has ended, or ends
# meanwhile, is not missed.
travel() {
    for node in 2 3 home 2; do
        for pid in $(fresh); do
            case $(cut -d ' ' -f 3 "/proc/$pid/stat" 2> /dev/null) in '' | Z) continue ;; esac
            said=$(migrate "$pid" "$node" 2>&1) || test ! -d "/proc/$pid" || stay=$said
        done
    done
}

# What the test has said about what went wrong, without times and paths.
complaint() {
    cat out* said 2> /dev/null | sed -nE 's/.*(FAIL|ERR|SKIP): [^ ]*\//\1 /p' | head -n 3 | tr '\n' ' '
}

# The numbers of all mounts, the last one first.
mounts() {
    cut -d ' ' -f 1 /proc/self/mountinfo | sort -rn
}

# Takes away the mounts that were not there before.
unmount() {
    for mount in $(mounts); do
        case " $mounted " in *" $mount "*) continue ;; esac
        path=$(awk -v id="$mount" '$1 == id { print $5 }' /proc/self/mountinfo)
        # It may have gone with another.
        test -z "$path" || umount -l "$path"
    done
}

# Waits for the end of the test, which takes a while under emulation.
ended() {
    tries=0
    while test -d "/proc/$main" && test $tries -lt $((limit * 10)); do
        sleep 0.1
        tries=$((tries + 1))
    done
}

work=/tmp/zdtm
rm -rf "$work" && mkdir -p "$work/zdtm/static" && chmod 777 "$work" && cd "$work/zdtm/static" || exit 1
chmod 777 .
cp "/zdtm/$name" .
before=$(cd /proc && echo [0-9]*)
mounted=$(mounts | tr '\n' ' ')
begin=
test "$way" = away && begin="trials herd 0 2"
stay=
# shellcheck disable=SC2086
timeout -s KILL "$limit" $begin "./$name" --pidfile=pid --outfile=out "$@" > said 2>&1 < /dev/null
status=$?
if test -s pid; then
    main=$(cat pid)
    test "$way" = moved && travel
    kill -TERM "$main"
    ended
    reason=
    grep -qw PASS out 2> /dev/null || reason="did not pass: $(complaint)"
else
    reason="did not begin, status $status: $(complaint)"
fi
left=$(fresh)
# shellcheck disable=SC2086
test -z "$left" || kill -KILL $left 2> /dev/null
if test -n "$reason"; then
    echo "FAIL $name: $reason $stay"
elif test -n "$stay"; then
    echo "STAY $name: $stay"
else
    echo "PASS $name"
fi
cd / && unmount
rm -rf "$work"
true
