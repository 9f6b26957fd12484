# Runs busybox's own test suite with this busybox; the same on Linux and on a node.
#
# Called as `busybox ash busybox.sh FOLDER LIMIT PATTERN...` where FOLDER holds `busybox`, `.config`, `testsuite`
# and `ash_test`. A unit is `new/APPLET` (APPLET.tests), `old/APPLET/CASE` or `ash/FOLDER/CASE`; those that
# match a pattern are run, each with LIMIT seconds. Prints `PASS UNIT: NAME` or `FAIL UNIT: NAME` for each test.

folder=$1
limit=$2
shift 2
cd "$folder" || exit 1
unset LANG LANGUAGE LC_ALL LC_CTYPE LC_COLLATE LC_MESSAGES LC_NUMERIC LC_TIME
export bindir=$folder tsdir=$folder/testsuite LOGNAME=tester
export SKIP_INTERNET_TESTS=1 ECHO=echo VERBOSE=
links=$folder/runtest-tempdir-links
export PATH=$links:$folder/ash_test
if test ! -e "$links"; then
    ./busybox mkdir "$links"
    for name in $(./busybox --list); do ./busybox ln -s ../busybox "$links/$name"; done
    ln -s ../busybox ash_test/ash
fi
export OPTIONFLAGS=:$(sed -nr 's/^CONFIG_//p' .config | sed 's/=.*//' | xargs | sed 's/ /:/g'):
export THIS_SH=$folder/ash_test/ash
eval $(sed -e '/^#/d' -e '/^$/d' -e 's:^:export :' .config)
said=$folder/said

# The results that a run of a new-style unit printed, each name once: later ones are numbered.
counted()
{
    sed -n -e "s#^PASS: #PASS $1: #p" -e "s#^FAIL: #FAIL $1: #p" "$said" |
        tr -d '\r' | awk '{ n = ++seen[substr($0, 6)]; print (n == 1 ? $0 : $0 " (" n ")") }'
}

one()
{
    unit=$1
    rest=${unit#*/}
    case $unit in
    new/*)
        cd "$tsdir"
        PATH=$links:$tsdir timeout -s KILL $limit ash "./$rest.tests" > "$said" 2> /dev/null < /dev/null
        status=$?
        counted "$unit"
        test $status -lt 128 || echo "FAIL $unit: ended"
        ;;
    old/*)
        cd "$tsdir"
        rm -rf .tmpdir && mkdir .tmpdir && cd .tmpdir
        if d=$tsdir timeout -s KILL $limit ash -x -e "$tsdir/$rest" > "$said" 2>&1 < /dev/null; then
            echo "PASS $unit: it"
        else
            echo "FAIL $unit: it"
        fi
        cd .. && rm -rf .tmpdir
        ;;
    ash/*)
        cd "$folder/ash_test/${rest%/*}"
        name=${rest##*/}
        timeout -s KILL $limit ash "./$name.tests" > "$said" 2>&1 < /dev/null
        if grep -va "^ash: using fallback suid method$" "$said" | cmp -s - "$name.right"; then
            echo "PASS $unit: it"
        else
            echo "FAIL $unit: it"
        fi
        ;;
    esac
    cd "$folder"
}

units()
{
    for file in testsuite/*.tests; do
        name=${file##*/}
        name=${name%.tests}
        test -e "$links/$name" && echo "new/$name"
    done
    for file in testsuite/*/*; do
        applet=${file#testsuite/}
        applet=${applet%/*}
        test -f "$file" && test -e "$links/$applet" && echo "old/${file#testsuite/}"
    done
    for file in ash_test/ash-*/*.tests; do
        test -f "${file%.tests}.right" && file=${file#ash_test/} && echo "ash/${file%.tests}"
    done
}

for unit in $(units); do
    for pattern; do
        case $unit in
        # It would mount, on whatever machine this is.
        new/mount) ;;
        $pattern)
            one "$unit"
            break
            ;;
        esac
    done
done
