# A queue of jobs that outlives a kill by its log.
beanstalkd -l 127.0.0.1 -p 11399 -b $PWD -f 50 & B=$!; sleep 1
printf 'use t\r\nput 1 0 60 5\r\nhello\r\nput 0 0 60 5\r\nfirst\r\nput 5 0 60 2\r\nzz\r\nwatch t\r\nignore default\r\nreserve\r\ndelete 2\r\nreserve\r\nrelease 1 9 0\r\nreserve\r\nbury 3 1\r\npeek-buried\r\nkick 5\r\nlist-tubes\r\nquit\r\n' | socat -t 5 - TCP:127.0.0.1:11399
kill -9 $B; wait $B 2> /dev/null; beanstalkd -l 127.0.0.1 -p 11399 -b $PWD -f 50 & B=$!; sleep 1
printf 'watch t\r\nreserve-with-timeout 2\r\nquit\r\n' | socat -t 5 - TCP:127.0.0.1:11399; kill $B; wait $B 2>/dev/null; echo $?
