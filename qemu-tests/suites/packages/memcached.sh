# Four threads, many clients, the test of its protocol, a socket with a name.
memcached -u root -t 4 -p 11299 -U 11299 -l 127.0.0.1 -d -P $PWD/mc.pid
m() { printf "$1" | busybox nc 127.0.0.1 11299 2> /dev/null; }
until m 'version\r\nquit\r\n'; do sleep 0.2; done
m 'set a 0 0 3\r\nabc\r\nget a\r\nincr a 1\r\nset n 0 0 1\r\n5\r\nincr n 7\r\ncas a 0 0 1 1\r\nx\r\ngets zz\r\ndelete a\r\nget a\r\nquit\r\n'
for i in 1 2 3 4 5 6; do (for j in $(seq 50); do printf "set k$i-$j 0 0 5\r\nhello\r\n"; done; printf 'quit\r\n') | busybox nc 127.0.0.1 11299 2> /dev/null | sort | uniq -c | tr -s ' ' & done; wait
m 'stats\r\nquit\r\n' | grep -E 'curr_items|threads' 
timeout 150 memccapable -h 127.0.0.1 -p 11299 2>&1 | tail -1
killall memcached; sleep 1; pidof memcached || echo gone
memcached -u root -s $PWD/mc.sock -d -P $PWD/mc2.pid; sleep 1; printf 'set a 0 0 1\r\nb\r\nquit\r\n' | socat - UNIX-CONNECT:mc.sock; killall memcached
