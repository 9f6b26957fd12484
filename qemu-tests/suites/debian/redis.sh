# A server and its clients, and what it keeps in a file.
set -e
redis-server --port 6400 --dir "$PWD" --daemonize yes --logfile log > /dev/null
answers() { redis-cli -p 6400 ping 2> /dev/null | grep -q PONG; }
until answers; do sleep 0.2; done
seq 200 | sed 's/.*/incrby sum &/' | redis-cli -p 6400 > /dev/null
test "$(redis-cli -p 6400 get sum)" = 20100
redis-cli -p 6400 save
redis-cli -p 6400 shutdown nosave
redis-server --port 6400 --dir "$PWD" --daemonize yes --logfile log > /dev/null
until answers; do sleep 0.2; done
test "$(redis-cli -p 6400 get sum)" = 20100
redis-cli -p 6400 shutdown nosave
echo all is well
