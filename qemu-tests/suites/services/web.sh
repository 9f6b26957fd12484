# Servers in Go: messages (nats) and files, proxy and compression (caddy).
nats-server -a 127.0.0.1 -p 4333 -js -sd $PWD/js -l n.log & N=$!; sleep 2
printf 'CONNECT {"verbose":false}\r\nSUB a.* 1\r\nPUB a.b 5\r\nhello\r\nPUB a.c 2\r\nzz\r\nPING\r\n' | socat -t 3 - TCP:127.0.0.1:4333 | tr -d '\r' | grep -v ^INFO
for j in 1 2 3; do (printf 'CONNECT {"verbose":true}\r\n'; for i in $(seq 200); do printf 'PUB q 3\r\nabc\r\n'; done; printf 'PING\r\n') | socat -t 3 - TCP:127.0.0.1:4333 | grep -c OK & p="$p $!"; done; wait $p
kill -INT $N; wait $N; echo $?
mkdir -p www; seq 20000 > www/n
cat > Caddyfile <<END
{
 admin off
 auto_https off
}
:8501 {
 bind 127.0.0.1
 root * $PWD/www
 encode gzip
 file_server browse
 handle /r* { 
  respond "fixed {query}" 201
 }
 handle_path /p/* { 
  reverse_proxy 127.0.0.1:8502 
 }
}
:8502 { 
 bind 127.0.0.1
 respond "up {path}" 
}
END
HOME=$PWD caddy run --adapter caddyfile --config Caddyfile > c.log 2>&1 & C=$!; i=0
until curl -s http://127.0.0.1:8501/r?x; do sleep 0.5; i=$((i+1)); test $i = 60 && { tail c.log; break; }; done; echo
for i in 1 2 3; do curl -s http://127.0.0.1:8501/n | md5sum; done; curl -s --compressed http://127.0.0.1:8501/n | md5sum; curl -s http://127.0.0.1:8501/p/deep; echo
curl -s --no-progress-meter --parallel --parallel-max 6 $(for i in 1 2 3 4 5 6; do echo -o o$i http://127.0.0.1:8501/n; done); cat o? | md5sum
kill -TERM $C; wait $C; echo $?
