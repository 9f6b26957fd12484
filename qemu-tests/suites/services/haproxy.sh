# A master and workers with threads, health checks, a new configuration without a pause.
mkdir -p www; seq 3000 > www/n; echo hi > www/a
busybox httpd -f -p 127.0.0.1:8101 -h www & H=$!
cat > h.cfg <<END
global
 nbthread 3
 maxconn 100
 stats socket $PWD/h.sock mode 600 level admin
defaults
 mode http
 timeout connect 20s
 timeout client 20s
 timeout server 20s
frontend f
 bind 127.0.0.1:8100
 bind unix@$PWD/f.sock
 acl st path_beg /static
 http-request return status 200 content-type text/plain string "fixed" if st
 default_backend b
backend b
 balance roundrobin
 option httpchk GET /a
 server s1 127.0.0.1:8101 check inter 500
 server s2 127.0.0.1:8102 check inter 500 backup
END
haproxy -q -W -D -p h.pid -f h.cfg; echo $?
until busybox wget -q -O - http://127.0.0.1:8100/static 2> /dev/null; do sleep 0.3; done; echo
for i in 1 2 3; do curl -s http://127.0.0.1:8100/n | md5sum; done
curl -s --no-progress-meter --parallel --parallel-max 6 $(for i in 1 2 3 4 5 6; do echo -o o$i http://127.0.0.1:8100/n; done); cat o? | md5sum
curl -s --unix-socket f.sock http://x/a
echo 'show servers state' | socat - UNIX-CONNECT:h.sock | awk '/s1/{print $4,$6}'
echo 'disable server b/s1' | socat - UNIX-CONNECT:h.sock; sleep 0.3; curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8100/n
echo 'enable server b/s1' | socat - UNIX-CONNECT:h.sock; sleep 1; curl -s http://127.0.0.1:8100/a
kill -USR2 $(cat h.pid); sleep 2; curl -s http://127.0.0.1:8100/a
kill -TERM $(cat h.pid | head -n 1) ; sleep 1; kill $H; wait; pidof haproxy || echo gone
