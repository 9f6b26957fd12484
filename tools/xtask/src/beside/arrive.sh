#!/bin/busybox sh
# On the machine that a process moves to: the images come as an archive, and the process is made from them.
tar x -C /images
exec </dev/null >/dev/null 2>&1
lazy=
if [ $1 = lazy ]; then
    criu lazy-pages --page-server --address 10.0.0.1 --port 7002 -D /images -o lazy.log -d
    lazy=--lazy-pages
fi
criu restore $lazy -D /images -o restore.log -d || grep Error /images/restore.log >/work.found
