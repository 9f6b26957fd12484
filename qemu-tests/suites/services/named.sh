# A name server with threads: transfers of zones, updates, its journal.
cat > n.conf <<END
options { directory "$PWD"; listen-on port 5454 { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file "$PWD/n.pid"; allow-transfer { any; }; notify no; session-keyfile "$PWD/s.key"; dnssec-validation no; managed-keys-directory "$PWD"; };
controls { };
zone "z.test" { type primary; file "$PWD/z"; allow-update { 127.0.0.1; }; };
END
(echo '$TTL 60'; echo '@ IN SOA ns.z.test. a.z.test. 1 60 60 60 60'; echo '@ IN NS ns'; echo 'ns IN A 127.0.0.1'; for i in $(seq 80); do echo "h$i IN A 10.2.0.$i"; done) > z
named-checkconf n.conf; echo $?; named-checkzone z.test z | tail -n 1
named -g -c n.conf -n 3 -U 2 > n.log 2>&1 & N=$!; i=0
until dig +time=2 +tries=1 +short @127.0.0.1 -p 5454 ns.z.test | grep '^127.0.0.1$'; do sleep 0.5; i=$((i+1)); test $i = 40 && { tail n.log; break; }; done
dig +time=30 @127.0.0.1 -p 5454 axfr z.test | grep -v '^;' | sort | md5sum
for i in 1 40 80 81; do dig +time=30 +short @127.0.0.1 -p 5454 h$i.z.test; done; dig +time=30 +tcp +short @127.0.0.1 -p 5454 SOA z.test
printf 'server 127.0.0.1 5454\nzone z.test\nupdate add new.z.test 60 A 10.9.9.9\nsend\n' | nsupdate; echo $?; dig +time=30 +short @127.0.0.1 -p 5454 new.z.test; dig +time=30 +short @127.0.0.1 -p 5454 SOA z.test
for j in 1 2 3; do for i in $(seq 4); do dig +time=30 +short @127.0.0.1 -p 5454 h$((i*j)).z.test; done > o$j & p="$p $!"; done; wait $p; cat o? | md5sum
kill -TERM $N; wait $N; echo $?; test -e z.jnl && echo journal; tail -n 1 n.log | cut -d' ' -f3-
