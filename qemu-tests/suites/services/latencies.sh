# Tests of latencies: threads on processors of their own that hand over without pause, beside whom time goes on; message
# queues, semaphores, signals, inheritance of priorities; many senders; and dbench with its clock.
t() { name=$1; shift; timeout -s KILL 120 "$@" > o.$name 2>&1; echo $name $?; }
t pi_stress pi_stress --duration=2 --groups=1 -q; tail -n 2 o.pi_stress | cut -d: -f1
t pip_stress pip_stress; cat o.pip_stress
t cyclictest cyclictest -l 50 -i 5000 -q -t 2 -a; grep -c '^T:' o.cyclictest
t absolute cyclictest -l 50 -i 5000 -q -m -p 80 --policy=fifo; grep -o 'C: *[0-9]*' o.absolute
t signaltest signaltest -l 50 -t 3 -q; grep -o 'C: *[0-9]*' o.signaltest
for q in pmqtest ptsematest; do t $q $q -l 50 -q; grep -o 'Cycles [0-9]*' o.$q; done
t late pmqtest -l 50 -q -T 1; head -n 1 o.late
n=0; for o in '' -T -p '-T -i'; do n=$((n+1)); t senders$n hackbench -l 5 -g 1 $o; head -n 2 o.senders$n; done
t ssdd ssdd -f 2 -i 20; tail -n 1 o.ssdd
t dbench dbench -t 3 -D . 2; grep -c 'execute' o.dbench | sed 's/[1-9]/some/'; grep -c '^Throughput [1-9]' o.dbench
