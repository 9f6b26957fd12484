# A broker of messages with subscribers, and publishers of all qualities at a time.
cat > m.conf <<END
listener 1884 127.0.0.1
allow_anonymous true
persistence true
persistence_location $PWD/
user root
END
mosquitto -c m.conf > m.log 2>&1 & M=$!
until mosquitto_pub -p 1884 -h 127.0.0.1 -t x -m x 2> /dev/null; do sleep 0.3; done
mosquitto_sub -h 127.0.0.1 -p 1884 -t 'a/#' -q 2 -C 30 > got & S=$!; sleep 2
for j in 1 2 3; do seq 10 | sed "s/^/$j-/" | mosquitto_pub -h 127.0.0.1 -p 1884 -t a/$j -q $((j-1)) -l & p="$p $!"; done; wait $p; wait $S; echo $?; sort got | md5sum; wc -l < got
mosquitto_pub -h 127.0.0.1 -p 1884 -t r -r -m kept; mosquitto_sub -h 127.0.0.1 -p 1884 -t r -C 1
mosquitto_rr -h 127.0.0.1 -p 1884 -t q -e resp -m req -W 1 2>&1; echo $?
seq 40000 > big; mosquitto_sub -h 127.0.0.1 -p 1884 -t big -C 1 -N > back & S=$!; sleep 1; mosquitto_pub -h 127.0.0.1 -p 1884 -t big -q 1 -f big; wait $S; cmp big back && echo same
kill -TERM $M; wait $M; echo $?; test -s mosquitto.db && echo db
