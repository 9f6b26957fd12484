# Databases whose memory is their file, which several processes change at a time.
mkdir e; (echo VERSION=3; echo format=print; echo type=btree; echo mapsize=4194304; echo HEADER=END; for i in $(seq 2000); do echo " key$i"; echo " value$i-$((i*i))"; done; echo DATA=END) > dump
mdb_load -f dump e; echo $?; mdb_stat e | head -n 8; mdb_dump -p e | md5sum; mkdir f; mdb_copy -c e f; mdb_dump -p f | md5sum
for j in 1 2 3; do (echo VERSION=3; echo format=print; echo type=btree; echo HEADER=END; for i in $(seq 200); do echo " n$j-$i"; echo " $j"; done; echo DATA=END) | mdb_load e & done; wait; mdb_stat e | grep Entries; mdb_stat -r e | tail -n 3 | sed 's/[0-9]\{3,\}/N/g'
(for i in $(seq 300); do echo "store k$i v$((i*3))"; done; echo 'count'; echo 'fetch k77'; echo reorganize; echo 'delete k5'; echo count; echo first) > g; gdbmtool -n db < g 2>&1; gdbm_dump db - | grep -v '^#' | md5sum; gdbm_dump db d2; gdbm_load d2 db2; gdbmtool -r db2 count
sqlite3 s.db 'pragma journal_mode=wal; create table t(a integer primary key, b);'
for j in 1 2 3; do (for i in $(seq 8); do echo ".timeout 20000
begin immediate; insert into t(b) values($j*100+$i); commit;"; done) | sqlite3 s.db & done; wait; sqlite3 s.db 'select count(*), sum(b) from t; pragma integrity_check; pragma wal_checkpoint(truncate);'
