export HOME=/tmp
tidy() { sed -E 's/process [0-9]+/process PID/g' | grep -e '^say' -e '^hello' -e '^.Inferior' -e 'already hit'; }
gdb -q -batch -ex 'set pagination off' -ex 'set breakpoint pending on' -ex 'break write' -ex run -ex 'printf "say %d\n", $rdx' -ex stepi -ex stepi -ex 'printf "say %d\n", $rip != (long)&write' -ex finish -ex 'printf "say %d\n", $rax' -ex 'info breakpoints' -ex continue --args /bin/echo hello 2>&1 | tidy
sleep 60 & pid=$!
sleep 1
gdb -q -batch -p $pid -ex 'printf "say %d\n", (int)getpid() == '$pid -ex 'printf "say %d\n", (int)kill((int)getpid(), 0)' -ex detach 2>&1 | tidy
kill -0 $pid && echo it is alive
{ kill $pid; wait $pid; } 2> /dev/null; echo status $?
