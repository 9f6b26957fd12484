# TLS in front of a server that forks, and in front of its clients.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout k.pem -out c.pem -days 9 -subj /CN=x 2>/dev/null
cat > s.conf <<END
foreground = yes
pid =
debug = 3
[s]
accept = 127.0.0.1:8203
connect = 127.0.0.1:8202
cert = $PWD/c.pem
key = $PWD/k.pem
[c]
client = yes
accept = 127.0.0.1:8204
connect = 127.0.0.1:8203
verifyPeer = yes
CAfile = $PWD/c.pem
END
seq 20000 > n; socat TCP-LISTEN:8202,bind=127.0.0.1,fork,reuseaddr SYSTEM:'cat' & C=$!
stunnel4 s.conf > st.log 2>&1 & S=$!; sleep 2
for i in 1 2 3 4; do (busybox timeout 60 socat -t 20 - TCP:127.0.0.1:8204 < n | md5sum) & p="$p $!"; done; wait $p
sleep 2; kill $S $C; wait $S; echo $?; grep -v Configuration st.log | cut -d" " -f3-
