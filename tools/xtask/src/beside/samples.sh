# The samples of one round: the raw link, TCP, and moves by CRIU of a process of each size in $SIZES, with all of its
# memory sent first (copy) and with its memory fetched when it is touched (lazy).
. /settings.sh
there() { echo "$*" | nc 10.0.0.2 7001; }
within() {
    tries=$1
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}
reached() { [ "$(there echo here)" = here ]; }
fail() {
    echo "failed	$*"
    poweroff -f
}
within 300 reached || fail the other machine is not reached
trials link ping 2000
trials link pour 10.0.0.2 64
criu check || fail CRIU finds something missing

# The images of a dump are little without the pages: tar carries them, and the target restores as soon as it has them.
move() {
    mode=$1 size=$2
    rm -rf /work.pid /images /status
    mkdir /images
    there 'rm -rf /images /work.found; mkdir /images; echo made' >/dev/null
    setsid trials work $size </dev/null >/dev/null 2>&1 &
    within 600 [ -s /work.pid ] || fail the process does not begin
    pid=$(cat /work.pid)
    there "nc -l -p 7003 -e /bin/arrive $mode </dev/null >/dev/null 2>&1 &"
    if [ $mode = copy ]; then
        there 'criu page-server -D /images --port 7002 -o pages.log -d </dev/null >/dev/null 2>&1; echo $?' >/dev/null
    fi
    clock=$(trials link ping 200)
    if [ $mode = copy ]; then
        criu dump -t $pid -D /images -o dump.log --page-server --address 10.0.0.2 --port 7002 || fail the process is not dumped
    else
        mkfifo /status
        criu dump -t $pid -D /images -o dump.log --lazy-pages --address 10.0.0.1 --port 7002 --status-fd 9 9>/status &
        # It says so when the images are complete.
        dd bs=1 count=1 </status >/dev/null 2>&1
    fi
    (cd /images && tar c *.img) | nc 10.0.0.2 7003
    found=$(there 'tries=0; until [ -s /work.found ] || [ $tries -ge 600 ]; do sleep 0.1; tries=$((tries + 1)); done; cat /work.found')
    case $found in
    left_ns=*) echo "criu	mode=$mode	size_mib=$size	$found	${clock#link?}" ;;
    *) fail "move of $size MiB, $mode: $found" ;;
    esac
    wait
}
for size in $SIZES; do
    move copy $size
    move lazy $size
done
