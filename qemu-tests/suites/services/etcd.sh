# A server in Go with a journal, a watch and a snapshot, and its client.
etcd --data-dir d --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 > e.log 2>&1 & E=$!; i=0
export ETCDCTL_API=3
until etcdctl --command-timeout=20s put a 1 2> /dev/null; do sleep 0.5; i=$((i+1)); test $i = 20 && { tail e.log; break; }; done
for i in 1 2 3; do etcdctl --command-timeout=40s put k$i v$i; done; etcdctl --command-timeout=40s get --prefix k; etcdctl --command-timeout=40s del k1
timeout 20 etcdctl watch w > w.out & W=$!; sleep 2; etcdctl --command-timeout=40s put w x; sleep 2; kill $W; cat w.out
etcdctl --command-timeout=40s snapshot save s.db > /dev/null 2>&1; echo $?
kill -TERM $E; wait $E; echo $?
