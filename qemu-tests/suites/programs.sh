# Runs one unit of somebody else's tests on a node and says how it went.
#
# Called as `busybox ash programs.sh NAME LIMIT TEXT [MOVER...]`: /units/NAME, for at most LIMIT seconds, in a
# session of its own of which nothing is left afterwards, started by MOVER if there is one. It passes if it
# ends with status 0 and prints TEXT; else the end of what it printed is shown. On its last line the mover says
# how often it moved something.

name=$1
limit=$2
text=$3
shift 3
said=/tmp/said
work=/tmp/work
rm -rf "$work" && mkdir "$work" && cd "$work" || exit 1
"$@" /bin/busybox setsid /bin/busybox ash -c 'echo $$ > /tmp/session; exec /bin/busybox timeout -s KILL "$@"' \
    sh "$limit" /bin/busybox ash "/units/$name" > "$said" 2>&1 < /dev/null
status=$?
session=$(cat /tmp/session)
for process in /proc/[0-9]*; do
    read -r line 2> /dev/null < "$process/stat" || continue
    # Behind the name: state, parent, group, session.
    set -- ${line##*) }
    test "$4" = "$session" && kill -KILL "${process#/proc/}"
done
if test $status -eq 0 && grep -qF -e "$text" "$said"; then
    echo "PASS $name"
else
    tail -n 25 "$said" | sed 's/^/    /'
    echo "FAIL $name: status $status"
fi
grep '^herd: .* moves$' "$said"
cd / && rm -rf "$work"
