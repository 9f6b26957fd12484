# What it keeps by children (BGSAVE, the log of changes and its rewrite), a replica, io threads, who waits and who listens.
set -e
conf() { printf 'port %s\ndir %s\ndaemonize yes\nenable-debug-command yes\nlogfile log%s\nunixsocket %s/r%s.sock\n%s\n' $1 "$PWD" $1 "$PWD" $1 "$2" > c$1; }
conf 6501 'appendonly yes
io-threads 2'
redis-server ./c6501 > /dev/null
r() { redis-cli -p 6501 "$@"; }
up() { until redis-cli -p $1 ping 2>/dev/null | grep -q PONG; do sleep 0.2; done; }
up 6501
r debug populate 3000 key 100
r eval 'for i=1,2000 do redis.call("RPUSH","list",i) end return redis.call("LLEN","list")' 0
r bgsave; 
while r info persistence | grep -q 'rdb_bgsave_in_progress:1'; do sleep 0.1; done
r info persistence | grep rdb_last_bgsave_status | tr -d '\r'
r set after save
r bgrewriteaof
while r info persistence | grep -q 'aof_rewrite\(_in_progress\|_scheduled\):1'; do sleep 0.1; done
r info persistence | grep aof_last_bgrewrite_status | tr -d '\r'
r set late yes
redis-cli -s r6501.sock incr counter
(r blpop queue 20 > popped; echo popped >> popped) &
sleep 0.5; r rpush queue hello; wait $!; cat popped
(timeout 20 redis-cli -p 6501 subscribe ch > sub || true) & S=$!
until [ "$(r pubsub numsub ch | tail -1)" = 1 ]; do sleep 0.1; done
r publish ch msg; sleep 0.3; kill $S 2>/dev/null || true; wait $S 2>/dev/null || true; cat sub
printf 'multi\nset a 1\nincr a\nexec\n' | r
r config get maxclients
# a replica
conf 6502 'replicaof 127.0.0.1 6501'
redis-server ./c6502 > /dev/null; up 6502
until redis-cli -p 6502 info replication | grep -q master_link_status:up; do sleep 0.2; done
r set fresh one; sleep 0.5
redis-cli -p 6502 get fresh; redis-cli -p 6502 dbsize
redis-benchmark -p 6501 -n 1000 -c 10 -q -t ping,set,lpush > bench; tr '\r' '\n' < bench | grep -c 'requests per second'
redis-cli -p 6501 --rdb dump.copy > /dev/null 2>&1; redis-check-rdb dump.copy | grep -c 'RDB looks OK'
redis-cli -p 6502 shutdown nosave > /dev/null 2>&1 || true
r debug sleep 0; D=$(r debug digest)
r shutdown nosave > /dev/null 2>&1 || true
sleep 0.5
redis-server ./c6501 > /dev/null; up 6501
until r ping | grep -q PONG; do sleep 0.2; done
[ "$D" = "$(r debug digest)" ] && echo same digest
r dbsize; r get after; r get late
r shutdown save > /dev/null 2>&1 || true
ls appendonlydir | wc -l
