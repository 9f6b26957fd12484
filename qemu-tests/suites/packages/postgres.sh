# Parallel plans, kinds of indexes, pgbench, locks, cancelled queries, logical decoding, a backup, a crash.
mkdir -p /var/run/postgresql data; chmod 777 /var/run/postgresql "$PWD" ;  chown nobody data
cat > all.sh <<'END'
bin=/usr/lib/postgresql/15/bin
ask() { $bin/psql -X -h /var/run/postgresql -d postgres -A -t -c "$1" 2>&1; }
$bin/initdb -D data -A trust > init.log 2>&1 || tail -5 init.log
printf 'max_parallel_workers_per_gather=2\nmin_parallel_table_scan_size=0\nparallel_setup_cost=0\nparallel_tuple_cost=0\nshared_buffers=16MB\nautovacuum_naptime=1s\nwal_level=logical\nfsync=on\nhuge_pages=try\ndynamic_shared_memory_type=posix\nstats_fetch_consistency=cache\njit=off\n' >> data/postgresql.conf
$bin/pg_ctl -D data -w -t 300 -l server.log start > ctl.log || tail server.log
ask "create table numbers as select n, n*n as square, md5(n::text) as h from generate_series(1,20000) n"
ask "create index on numbers(square); create index on numbers using hash(h); create index on numbers using gin(to_tsvector('simple',h)); analyze numbers"
ask "select sum(square), count(distinct h) from numbers"
ask "explain (costs off) select count(*) from numbers where n%3=0"
ask "select count(*) from numbers where n%3=0"
ask "select n from numbers where h=md5('777')"
$bin/pgbench -h /var/run/postgresql -i -s 1 -q postgres > i.log 2>&1; tail -1 i.log | cut -c1-5
$bin/pgbench -h /var/run/postgresql -c 4 -j 2 -t 40 postgres 2>&1 | grep -E 'processed|failed'
ask "select sum(bbalance)=(select sum(delta) from pgbench_history) from pgbench_branches"
(ask "begin; lock table numbers; select pg_sleep(1); update numbers set n=n where n=1; commit" > l1) & wait; tail -n 1 l1
ask "vacuum full numbers"; ask "reindex table numbers"; ask checkpoint
ask "select pg_size_pretty(pg_relation_size('numbers'))"
ask "copy (select * from numbers order by n limit 3) to stdout"
ask 'create table t2(a int primary key)'; ask 'insert into t2 values(1)'; ask 'insert into t2 values(1)'
ask "do \$\$ begin for i in 1..1000 loop insert into t2 values(i+10); end loop; end \$\$; select count(*) from t2"
ask "select pg_cancel_backend(pg_backend_pid())"; ask "set statement_timeout=200; select pg_sleep(10)"
ask "select pg_create_logical_replication_slot('s','test_decoding') is not null"; ask "insert into t2 values(5)"; ask "select data from pg_logical_slot_get_changes('s',null,null) where data like 'table%'"
$bin/pg_dump -h /var/run/postgresql postgres | grep -c CREATE
$bin/pg_basebackup -h /var/run/postgresql -D base -c fast && ls base | wc -l
$bin/pg_ctl -D data -w -t 300 -m immediate stop > /dev/null; $bin/pg_ctl -D data -w -t 300 start -l server.log > /dev/null; ask "select count(*) from numbers"
$bin/pg_ctl -D data -w -t 300 stop | sed 's/down\.* /down /' # a dot for each while that it takes
$bin/pg_checksums -c -D data 2>&1 | cut -c1-40; $bin/pg_controldata data | grep 'cluster state'
END
busybox su -s /bin/sh nobody -c "sh all.sh" 2>&1
