# Constructs of bash whose output is the same everywhere.
echo {1..5} {a..e} ${BASH_VERSINFO[0]}
cat <(echo one) <(echo two)
coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "got $line"; kill "$COPROC_PID"; wait
declare -A map; for i in {1..300}; do map[$i]=$((i * i)); done; sum=0; for k in "${!map[@]}"; do ((sum += map[$k])); done
echo $sum ${#map[@]}
exec 5<> file; printf 'a b\nc d\n' >&5; exec 5>&-; mapfile -t lines < file; echo "${#lines[@]} ${lines[1]#c }"
trap 'echo usr1' USR1; kill -USR1 $$; trap 'echo chld' CHLD; (exit 3); true & wait $!; trap - CHLD
f() { local n=$1; ((n < 2)) && { echo "$n"; return; }; echo $(($(f $((n - 1))) + $(f $((n - 2))))); }; f 8
for i in 1 2 3 4; do (sleep 0.$i; exit "$i") & pids+=($!); done; for p in "${pids[@]}"; do wait "$p"; echo "status $?"; done
yes | head -n 20000 | wc -l; echo "${PIPESTATUS[@]}"
set -o pipefail; false | true; echo $?
[[ abc123 =~ ^([a-z]+)([0-9]+)$ ]] && echo "${BASH_REMATCH[2]}"
printf '%s\n' {9..0} | sort | tr '\n' ' '; echo
(ulimit -n 50; ulimit -n); umask 027; touch made; stat -c %a made
read -r -t 0.2 x < <(sleep 1); echo "timed out $(($? > 128))"
wait -n 2> /dev/null; sleep 5 & sleep 0.2; kill $!; wait $!; echo $?
seq 3000 | while read -r n; do ((t += n)); [[ $n == 3000 ]] && echo $t; done
