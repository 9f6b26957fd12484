# A resolver with threads behind a forwarder, by datagrams and streams.
cat > d.conf <<END
port=5353
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
address=/a.test/10.0.0.1
server=/u.test/127.0.0.1#5354
txt-record=t.test,"hello"
mx-host=m.test,mail.test,10
user=root
group=root
pid-file=$PWD/d.pid
END
cat > u.conf <<END
server:
 interface: 127.0.0.1@5354
 do-daemonize: no
 username: ""
 chroot: ""
 directory: "$PWD"
 pidfile: "$PWD/u.pid"
 num-threads: 3
 use-syslog: no
 logfile: "$PWD/u.log"
 do-not-query-localhost: no
 module-config: "iterator"
 local-zone: "u.test." static
$(for i in $(seq 50); do echo " local-data: \"h$i.u.test. A 10.1.0.$i\""; done)
remote-control:
 control-enable: no
END
unbound -c u.conf & U=$!
dnsmasq -C d.conf; echo $?
until dig +time=2 +short @127.0.0.1 -p 5353 a.test | grep ^10; do sleep 0.3; done
until dig +time=2 +short @127.0.0.1 -p 5354 h1.u.test | grep ^10; do sleep 0.3; done
dig +time=20 +short @127.0.0.1 -p 5353 TXT t.test; dig +time=20 +tcp +short @127.0.0.1 -p 5353 MX m.test; dig +time=20 +short -x 10.0.0.1 @127.0.0.1 -p 5353
for i in 3 9 50 51; do dig +time=20 +short @127.0.0.1 -p 5353 h$i.u.test; dig +time=20 +tcp +short @127.0.0.1 -p 5354 h$i.u.test; done
for j in 1 2 3; do for i in $(seq 4); do dig +time=20 +short @127.0.0.1 -p 5354 h$((i*j)).u.test; done > o$j & p="$p $!"; done; wait $p; cat o? | md5sum
kill -HUP $(cat d.pid); kill -USR1 $(cat d.pid); sleep 0.5; dig +time=20 +short @127.0.0.1 -p 5353 x.a.test
kill $(cat d.pid); kill $U; wait $U; echo $?; sleep 0.5; pidof dnsmasq unbound || echo gone; grep -iE 'error|fatal' u.log
true
