tidy() { sed -E 's/0x[0-9a-f]+/PLACE/g; s/[0-9]{4,}/PID/g; s/^[0-9]+ +/PID /'; }
strace -o calls -e trace=write,exit_group busybox sh -c 'echo hello > /dev/null; exit 5'
echo status $?; cat calls
strace -f -o calls -e trace=kill,exit_group busybox sh -c 'trap "echo caught" USR1; (kill -USR1 $$; exit 3) & wait; wait; kill -TERM $$'
echo status $?; grep -e --- -e +++ calls | tidy | sort
strace -f -c -o counts busybox sh -c 'for i in 1 2 3; do busybox true; done'
awk '$NF == "execve" || $NF == "exit_group" { print $NF, $4 }' counts | sort
busybox sleep 60 & pid=$!
(sleep 2; kill -STOP $pid; sleep 1; kill -CONT $pid; sleep 1; kill $pid) &
strace -o calls -p $pid 2> /dev/null
wait $pid; echo status $?; grep -e --- -e +++ calls | tidy
strace -o /dev/null -e trace=getppid -e inject=getppid:retval=42 busybox sh -c 'echo $PPID'
