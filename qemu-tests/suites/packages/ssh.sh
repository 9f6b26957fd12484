# Keys and signatures; a server in its sandbox: commands, terminals, copies, a forwarded port, an agent, a shared connection.
mkdir -p /run/sshd /root/.ssh; chmod 700 /root/.ssh; export HOME=/root
grep -q sshd /etc/passwd || echo 'sshd:x:101:65534::/run/sshd:/usr/sbin/nologin' >> /etc/passwd
for t in ed25519 ecdsa rsa; do ssh-keygen -q -t $t -N '' -f k_$t; ssh-keygen -l -f k_$t | cut -d' ' -f1,4; done
cp k_ed25519.pub /root/.ssh/authorized_keys; chmod 600 /root/.ssh/authorized_keys
seq 100 > data; ssh-keygen -q -Y sign -f k_ed25519 -n file data 2>/dev/null; (printf 'me '; cat k_ed25519.pub) > allowed; ssh-keygen -Y verify -f allowed -I me -n file -s data.sig < data | cut -d' ' -f1-5
cat > sc <<END
Port 2222
ListenAddress 127.0.0.1
HostKey $PWD/k_rsa
HostKey $PWD/k_ecdsa
PidFile $PWD/sshd.pid
UsePAM no
StrictModes no
PermitRootLogin yes
Subsystem sftp /usr/lib/openssh/sftp-server
END
$(command -v sshd || echo /usr/sbin/sshd) -f $PWD/sc -E $PWD/sshd.log
O="-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i $PWD/k_ed25519"
s() { ssh $O -p 2222 root@127.0.0.1 "$@"; }
for i in 1 2 3 4 5 6 7 8; do s true 2> /dev/null && break; sleep 1; done
s 'echo remote; exit 3'; echo $?
seq 20000 | s 'cat' | sha1sum; seq 20000 | sha1sum
s -tt 'tty > /dev/null && echo has tty; stty -a | grep -o "echo " | head -1; exit' < /dev/null | tr -d '\r'
scp -q $O -P 2222 data root@127.0.0.1:$PWD/data.scp; cmp data data.scp && echo scp
printf 'get data data.sftp\nls data*\n' > b; sftp -q $O -P 2222 -b b root@127.0.0.1:$PWD | grep -v 'sftp' | wc -l; cmp data data.sftp && echo sftp
ssh $O -p 2222 root@127.0.0.1 -N -L 7777:127.0.0.1:7778 > /dev/null 2>&1 & F=$!; for i in $(seq 60); do grep -q ':1E61 ' /proc/net/tcp && break; sleep 0.5; done; (echo forwarded | timeout 10 busybox nc -l -p 7778 > /dev/null &) ; sleep 0.5; timeout 5 busybox nc 127.0.0.1 7777 < /dev/null; kill $F; wait $F 2> /dev/null
eval $(ssh-agent) > /dev/null; ssh-add -q k_ed25519; ssh-add -l | cut -d' ' -f1,4; ssh $(echo $O | sed 's/-i .*//') -p 2222 root@127.0.0.1 echo by agent; ssh-agent -k > /dev/null
s -M -S ctl -f -N; ssh -S ctl -p 2222 root@127.0.0.1 echo mux; ssh -S ctl -O exit x 2>&1 | head -1
kill $(cat sshd.pid); rm -rf /root/.ssh
