# Two workers with threads, a cache in front of another server, compression, a new configuration, an end that waits.
mkdir -p /var/log/nginx /var/lib/nginx pages up; seq 30000 > pages/numbers; echo a > pages/a; head -c 3000000 /usr/sbin/nginx > pages/big
cat > n.conf <<END
daemon on; user root; worker_processes 2; pid $PWD/n.pid; error_log $PWD/error.log notice;
thread_pool tp threads=2;
events { worker_connections 64; accept_mutex on; }
http { access_log $PWD/access.log; sendfile on; tcp_nopush on; gzip on; gzip_min_length 10; gzip_types *; 
 client_body_temp_path $PWD/up; open_file_cache max=10;
 proxy_cache_path $PWD/cache levels=1:2 keys_zone=z:1m; limit_req_zone \$binary_remote_addr zone=q:1m rate=1000r/s;
 server { listen 8081 reuseport; listen unix:$PWD/n.sock; root $PWD/pages; aio threads=tp; directio 1m; limit_req zone=q burst=100; 
   location /p/ { proxy_pass http://127.0.0.1:8082/; proxy_cache z; } location /s { return 200 "pid ok\n"; } location /put/ { root $PWD/up; autoindex on; } location /st { stub_status; } } 
 server { listen 127.0.0.1:8082 backlog=16 so_keepalive=on deferred; root $PWD/pages; } }
END
nginx -c $PWD/n.conf 2>&1 | sed "s,$PWD,.,"
until busybox wget -q -O - http://127.0.0.1:8081/s 2> /dev/null; do sleep 0.3; done
for i in 1 2 3 4; do busybox wget -q -O - http://127.0.0.1:8081/numbers | sha1sum; done
busybox wget -q -O - http://127.0.0.1:8081/big | cmp - pages/big && echo big
curl -s --compressed http://127.0.0.1:8081/numbers | sha1sum
curl -s -r 100-199 http://127.0.0.1:8081/numbers | sha1sum
curl -s http://127.0.0.1:8081/p/numbers | sha1sum; curl -s http://127.0.0.1:8081/p/numbers | sha1sum
curl -s --unix-socket n.sock http://x/a
curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8081/none
curl -s --no-progress-meter --parallel --parallel-max 8 $(for i in 1 2 3 4 5 6 7 8; do echo -o o$i http://127.0.0.1:8081/numbers; done); cat o? | sha1sum
kill -HUP $(cat n.pid); sleep 1; curl -s http://127.0.0.1:8081/a
kill -USR1 $(cat n.pid); sleep 0.5; test -s access.log && echo logged
kill -QUIT $(cat n.pid); while test -e n.pid; do sleep 0.2; done
grep -E 'alert|crit|emerg' error.log || echo clean
