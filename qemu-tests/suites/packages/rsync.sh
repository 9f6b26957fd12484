# Trees with links and attributes, by itself and by a server; archives of tar and cpio, compressed with threads.
mkdir -p src/a/b; for i in $(seq 50); do seq $i 500 > src/a/f$i; done; ln src/a/f1 src/a/hard; ln -s f2 src/a/sym; head -c 100000 /dev/zero > src/a/sp; echo end >> src/a/sp; mkfifo src/ff; touch -d '2001-02-03 04:05:06' src/a/f3; chmod 711 src/a/f4; chown 1000:100 src/a/f5
rsync -aHS --stats src/ dst/ > /dev/null; diff -r --no-dereference src/a dst/a && echo same
stat -c '%n %a %u:%g %h' dst/a/f3 dst/a/f4 dst/a/f5 dst/a/hard
echo more >> src/a/f7; rm src/a/f8; rsync -aH --delete src/ dst/; diff -r --no-dereference src/a dst/a && echo again
cat > rd.conf <<END
port = 8873
use chroot = no
pid file = $PWD/rd.pid
log file = $PWD/rd.log
uid = root
gid = root
[m]
path = $PWD/src
read only = no
END
rsync --daemon --config=rd.conf --address=127.0.0.1; for i in $(seq 20); do rsync rsync://127.0.0.1:8873/ 2> /dev/null && break; sleep 0.3; done
rsync -az rsync://127.0.0.1:8873/m/ net/; diff -r --no-dereference src/a net/a && echo net same; echo up > upl; rsync upl rsync://127.0.0.1:8873/m/; cat src/upl
rsync -a --partial --inplace --bwlimit=10000 src/a/sp inpl; cmp inpl src/a/sp && echo inplace; kill $(cat rd.pid)
mkdir t; tar -C src -cf - . | tar -C t -xpf -; diff -r --no-dereference src/a t/a && echo tar; tar -C src -S -cJf x.txz a && tar -tJf x.txz | wc -l; tar -C src --zstd -cf x.zst a; tar --zstd -xOf x.zst a/f10 | sha1sum
tar -C src -g snar -cf inc0.tar a; echo z > src/a/new; tar -C src -g snar -cf inc1.tar a; tar -tf inc1.tar; tar -C src -cMf v1.tar -L 200 -F 'echo v2.tar >&$TAR_FD' a && ls v?.tar
/usr/bin/xz -T2 -k -c src/a/sp | /usr/bin/xz -dc | cmp - src/a/sp && echo xz; zstd -q -T2 -c src/a/sp | zstd -dc | cmp - src/a/sp && echo zstd; find src | sort | cpio -o --quiet -H newc | cpio -t --quiet | wc -l
