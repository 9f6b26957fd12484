# A mail server: its daemon, its queue runners and its deliveries, three clients at a time.
grep -q ^Debian-exim /etc/passwd || { echo "Debian-exim:x:997:997::/:/bin/sh" >> /etc/passwd; echo "Debian-exim:x:997:" >> /etc/group; }
mkdir -p spool mail; chmod 777 spool mail
cat > ex.conf <<END
spool_directory = $PWD/spool
log_file_path = $PWD/log.%s
primary_hostname = x.test
domainlist local_domains = x.test
exim_user = root
exim_group = root
never_users =
daemon_smtp_ports = 2526
local_interfaces = 127.0.0.1
acl_smtp_rcpt = accept
acl_smtp_data = accept
queue_only = false
keep_environment =
pid_file_path = $PWD/ex.pid
begin routers
loc:
 driver = accept
 domains = x.test
 transport = file
begin transports
file:
 driver = appendfile
 file = $PWD/mail/box
 user = Debian-exim
 group = Debian-exim
begin retry
* * F,1h,5s
END
chown root ex.conf; chmod 644 ex.conf
exim4 -C $PWD/ex.conf -bd -q1m 2>&1 | head; sleep 2
for j in 1 2 3; do (sleep 0.5; printf 'EHLO a\r\nMAIL FROM:<u@x.test>\r\nRCPT TO:<v%s@x.test>\r\nRCPT TO:<w@x.test>\r\nDATA\r\n' $j; sleep 1; printf 'Subject: s\r\n\r\nbody %s\r\n.\r\nQUIT\r\n' $j; sleep 2) | socat -t 9 - TCP:127.0.0.1:2526 | cut -c1-3 | sort | uniq -c & p="$p $!"; done; wait $p
echo local | exim4 -C $PWD/ex.conf y@x.test; sleep 2; i=0; until test $(cat mail/box 2> /dev/null | grep -c 'body\|local$') -ge 7; do sleep 0.5; i=$((i+1)); test $i = 60 && break; done
grep -h 'body\|^local' mail/box | sort | uniq -c; exim4 -C $PWD/ex.conf -bpc; kill $(cat ex.pid); sleep 1; pidof exim4 || echo gone; cat log.panic 2>/dev/null | grep -v notifier_socket
